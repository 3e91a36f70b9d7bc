//! What of CUDA is on this machine, asked through `dlopen`, without the CUDA backend.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::path::PathBuf;

use libloading::Library;
use serde::Serialize;

/// Names of the driver's library, in the order tried.
const DRIVER: &[&str] = &["libcuda.so", "libcuda.so.1", "nvcuda.dll"];
/// Names of the run-time compiler's library, as the backend looks for them.
const NVRTC: &[&str] = &[
    "libnvrtc.so",
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "libnvrtc.so.11",
    "libnvrtc.so.1",
    "nvrtc64_130_0.dll",
    "nvrtc64_120_0.dll",
];

/// A CUDA device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CudaDevice {
    /// What follows `cuda:`.
    pub index: usize,
    /// The product's name.
    pub name: String,
    /// Device memory in bytes.
    pub memory_bytes: u64,
}

/// What was found, and the first thing that is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cuda {
    /// The newest CUDA version that the driver runs, as (major, minor).
    pub driver: Option<(u32, u32)>,
    /// The version of NVRTC, CUDA's run-time compiler.
    pub nvrtc: Option<(u32, u32)>,
    /// The folder of CUDA's headers, which NVRTC reads.
    pub headers: Option<PathBuf>,
    /// The devices that the driver sees.
    pub devices: Vec<CudaDevice>,
    /// Why CUDA cannot be used, and what would help; `None` where it can.
    pub missing: Option<String>,
}

impl Cuda {
    /// The devices, if everything is there to use them.
    ///
    /// # Errors
    /// [`Cuda::missing`].
    pub fn usable(&self) -> Result<&[CudaDevice], String> {
        match &self.missing {
            None => Ok(&self.devices),
            Some(reason) => Err(reason.clone()),
        }
    }
}

/// Looks for driver, devices, NVRTC and headers. Does not panic, whatever is missing.
pub fn probe() -> Cuda {
    let mut found = Cuda::default();
    found.missing = examine(&mut found).err();
    found
}

fn examine(found: &mut Cuda) -> Result<(), String> {
    let driver = open(DRIVER)
        .ok_or("the NVIDIA driver is not installed (no libcuda.so.1 on the library path)")?;
    // SAFETY: the signatures are those of the CUDA driver API.
    unsafe {
        examine_driver(&driver, found)?;
    }
    let nvrtc = open(NVRTC).ok_or(
        "NVRTC is not installed (no libnvrtc.so on the library path); install the CUDA toolkit's \
         cuda-nvrtc package, or add its folder to LD_LIBRARY_PATH",
    )?;
    // SAFETY: the signature is that of NVRTC's API.
    found.nvrtc = unsafe { nvrtc_version(&nvrtc) };
    if let (Some(driver), Some(nvrtc)) = (found.driver, found.nvrtc)
        && nvrtc.0 > driver.0
    {
        return Err(format!(
            "NVRTC is of CUDA {}.{}, the driver runs CUDA {}.{} at most; update the driver, or install \
             an older toolkit",
            nvrtc.0, nvrtc.1, driver.0, driver.1
        ));
    }
    let headers = toolkit().map(|root| root.join("include"));
    found.headers = headers.filter(|folder| folder.join("cuda_runtime.h").is_file());
    if found.headers.is_none() {
        return Err("CUDA's headers are not installed (no include/cuda_runtime.h in CUDA_PATH, \
                    /usr/local/cuda or /opt/cuda); install the toolkit's cuda-cudart-dev package, or \
                    set CUDA_PATH"
            .to_owned());
    }
    Ok(())
}

/// # Safety
/// `driver` is the CUDA driver.
unsafe fn examine_driver(driver: &Library, found: &mut Cuda) -> Result<(), String> {
    type Init = unsafe extern "C" fn(c_uint) -> c_int;
    type GetInt = unsafe extern "C" fn(*mut c_int) -> c_int;
    type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    type GetMemory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;

    let broken = |error: libloading::Error| format!("the NVIDIA driver is incomplete: {error}");
    // SAFETY: each symbol has the signature given, by the driver's API.
    let (init, version, count, device, name, memory) = unsafe {
        (
            driver.get::<Init>(b"cuInit\0").map_err(broken)?,
            driver.get::<GetInt>(b"cuDriverGetVersion\0").map_err(broken)?,
            driver.get::<GetInt>(b"cuDeviceGetCount\0").map_err(broken)?,
            driver.get::<GetDevice>(b"cuDeviceGet\0").map_err(broken)?,
            driver.get::<GetName>(b"cuDeviceGetName\0").map_err(broken)?,
            driver.get::<GetMemory>(b"cuDeviceTotalMem_v2\0").map_err(broken)?,
        )
    };
    // SAFETY: every pointer is to a live local of the size that the call writes.
    unsafe {
        let status = init(0);
        if status != 0 {
            return Err(format!("the NVIDIA driver does not start (cuInit returned {status})"));
        }
        let mut number = 0;
        if version(&raw mut number) == 0 {
            // 1000 x major + 10 x minor.
            found.driver = Some((number as u32 / 1000, number as u32 % 1000 / 10));
        }
        let mut devices = 0;
        let status = count(&raw mut devices);
        if status != 0 || devices == 0 {
            return Err("the NVIDIA driver sees no device".to_owned());
        }
        for index in 0..devices {
            let (mut handle, mut text, mut bytes) = (0, [0 as c_char; 256], 0);
            device(&raw mut handle, index);
            // One byte less than there is, so that the text always ends.
            name(text.as_mut_ptr(), 255, handle);
            memory(&raw mut bytes, handle);
            found.devices.push(CudaDevice {
                index: index as usize,
                name: CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned(),
                memory_bytes: bytes as u64,
            });
        }
    }
    Ok(())
}

/// # Safety
/// `nvrtc` is NVRTC.
unsafe fn nvrtc_version(nvrtc: &Library) -> Option<(u32, u32)> {
    type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
    // SAFETY: the symbol has this signature, and both pointers are to live locals.
    unsafe {
        let version = nvrtc.get::<Version>(b"nvrtcVersion\0").ok()?;
        let (mut major, mut minor) = (0, 0);
        (version(&raw mut major, &raw mut minor) == 0).then_some((major as u32, minor as u32))
    }
}

fn open(names: &[&str]) -> Option<Library> {
    // SAFETY: loading NVIDIA's libraries runs their initialisers only, as the backend would.
    names.iter().find_map(|name| unsafe { Library::new(name) }.ok())
}

/// The toolkit's folder: the places where the backend looks, in its order.
fn toolkit() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CUDA_PATH") {
        return Some(path.into());
    }
    let places = ["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from);
    if let Some(place) = places.into_iter().find(|place| place.exists()) {
        return Some(place);
    }
    PathBuf::from("/usr/bin/nvcc").exists().then(|| "/usr".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_devices_or_a_reason() {
        let found = probe();
        match found.usable() {
            Ok(devices) => assert!(!devices.is_empty()),
            Err(reason) => assert!(reason.contains("NVIDIA") || reason.contains("CUDA")),
        }
    }

    #[test]
    fn a_missing_library_is_no_panic() {
        assert!(open(&["libgeoseg-that-is-not-there.so"]).is_none());
    }
}
