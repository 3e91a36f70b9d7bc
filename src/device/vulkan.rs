//! Which Vulkan adapters the loader sees, asked through `dlopen`, without the wgpu backend (which panics
//! where there is none).

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use libloading::Library;
use serde::Serialize;

/// Names of the Vulkan loader, in the order tried.
const LOADER: &[&str] = &["libvulkan.so.1", "libvulkan.so", "vulkan-1.dll"];
/// More than `VkPhysicalDeviceProperties` needs (824 bytes in Vulkan 1.3), in 8-byte words.
const PROPERTIES_WORDS: usize = 512;
/// Where the device's name starts in `VkPhysicalDeviceProperties`: after five `u32`.
const NAME_BYTE: usize = 20;

/// What kind of device an adapter is (`VkPhysicalDeviceType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// None of the others.
    Other,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU lent by a hypervisor.
    Virtual,
    /// Vulkan in software, such as lavapipe.
    Cpu,
}

/// A Vulkan device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// What follows `vulkan:`.
    pub index: usize,
    /// The product's name.
    pub name: String,
    /// Its kind.
    pub kind: AdapterKind,
}

#[repr(C)]
struct InstanceCreateInfo {
    structure_type: u32,
    next: *const c_void,
    flags: u32,
    application: *const c_void,
    layer_count: u32,
    layers: *const c_void,
    extension_count: u32,
    extensions: *const c_void,
}

type Handle = *mut c_void;
type CreateInstance =
    unsafe extern "C" fn(*const InstanceCreateInfo, *const c_void, *mut Handle) -> i32;
type DestroyInstance = unsafe extern "C" fn(Handle, *const c_void);
type EnumerateDevices = unsafe extern "C" fn(Handle, *mut u32, *mut Handle) -> i32;
type GetProperties = unsafe extern "C" fn(Handle, *mut c_void);

/// The adapters, in the loader's order.
///
/// # Errors
/// There is no Vulkan loader, or it finds no adapter; the text says what would help.
pub fn probe() -> Result<Vec<Adapter>, String> {
    // SAFETY: loading the Vulkan loader runs its initialisers only.
    let loader = LOADER.iter().find_map(|name| unsafe { Library::new(name) }.ok()).ok_or(
        "the Vulkan loader is not installed (no libvulkan.so.1 on the library path); install libvulkan1",
    )?;
    // SAFETY: the library is the Vulkan loader.
    let adapters = unsafe { enumerate(&loader) }?;
    if adapters.is_empty() {
        return Err("Vulkan finds no device; install a driver (mesa-vulkan-drivers has one in \
                    software)"
            .to_owned());
    }
    Ok(adapters)
}

/// # Safety
/// `loader` is the Vulkan loader.
unsafe fn enumerate(loader: &Library) -> Result<Vec<Adapter>, String> {
    let broken = |error: libloading::Error| format!("the Vulkan loader is incomplete: {error}");
    // SAFETY: each symbol has the signature given, by the Vulkan specification.
    let (create, destroy, list, describe) = unsafe {
        (
            loader.get::<CreateInstance>(b"vkCreateInstance\0").map_err(broken)?,
            loader.get::<DestroyInstance>(b"vkDestroyInstance\0").map_err(broken)?,
            loader.get::<EnumerateDevices>(b"vkEnumeratePhysicalDevices\0").map_err(broken)?,
            loader.get::<GetProperties>(b"vkGetPhysicalDeviceProperties\0").map_err(broken)?,
        )
    };
    let info = InstanceCreateInfo {
        structure_type: 1,
        next: ptr::null(),
        flags: 0,
        application: ptr::null(),
        layer_count: 0,
        layers: ptr::null(),
        extension_count: 0,
        extensions: ptr::null(),
    };
    let mut instance = ptr::null_mut();
    // SAFETY: `info` is a valid VkInstanceCreateInfo with no layers and no extensions.
    let status = unsafe { create(&raw const info, ptr::null(), &raw mut instance) };
    if status != 0 {
        return Err(format!(
            "Vulkan finds no driver (vkCreateInstance returned {status}); install one \
             (mesa-vulkan-drivers has one in software)"
        ));
    }
    let mut count = 0;
    // SAFETY: with a null list the call writes the count only; then `devices` has room for it.
    let devices = unsafe {
        list(instance, &raw mut count, ptr::null_mut());
        let mut devices = vec![ptr::null_mut(); count as usize];
        list(instance, &raw mut count, devices.as_mut_ptr());
        devices.truncate(count as usize);
        devices
    };
    let mut adapters = Vec::with_capacity(devices.len());
    for (index, device) in devices.into_iter().enumerate() {
        let mut properties = [0_u64; PROPERTIES_WORDS];
        // SAFETY: the buffer is larger than VkPhysicalDeviceProperties and aligned as it is; the name is
        // null-terminated within it.
        let (kind, name) = unsafe {
            describe(device, properties.as_mut_ptr().cast());
            let start = properties.as_ptr();
            let kind = *start.cast::<u32>().add(4);
            let name = CStr::from_ptr(start.cast::<c_char>().add(NAME_BYTE));
            (kind, name.to_string_lossy().into_owned())
        };
        let kind = match kind {
            1 => AdapterKind::Integrated,
            2 => AdapterKind::Discrete,
            3 => AdapterKind::Virtual,
            4 => AdapterKind::Cpu,
            _ => AdapterKind::Other,
        };
        adapters.push(Adapter { index, name, kind });
    }
    // SAFETY: the instance is live, and nothing made from it is used any more.
    unsafe { destroy(instance, ptr::null()) };
    Ok(adapters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_adapters_or_a_reason() {
        match probe() {
            Ok(adapters) => assert!(adapters.iter().all(|adapter| !adapter.name.is_empty())),
            Err(reason) => assert!(reason.contains("Vulkan")),
        }
    }
}
