//! "auto", "cpu", "cuda:0", "vulkan" into a burn backend: the only place with backend `cfg`s.
//!
//! What is generic over the backend is run through [`with_backend!`](crate::with_backend) (inference) or
//! [`with_autodiff_backend!`](crate::with_autodiff_backend) (training): they expand their body once per
//! backend that is compiled in, and pick one at run time.

pub mod cuda;
pub mod vulkan;

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;

use crate::config::Precision;
use crate::error::{Error, Result};
use crate::kernels::Kernels;

/// A device as the user names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device that works, otherwise the CPU.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA device of that index.
    Cuda(usize),
    /// The Vulkan device of that index in the loader's order; without one, what the driver deems best.
    Vulkan(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => {
                let index = index.parse::<usize>();
                (kind, Some(index.map_err(|_| format!("the index in `{text}` is not a number"))?))
            }
            None => (text, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("vulkan", index) => Ok(Self::Vulkan(index)),
            _ => {
                Err(format!("expected auto, cpu, cuda, cuda:N, vulkan or vulkan:N, found `{text}`"))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Vulkan(None) => f.write_str("vulkan"),
            Self::Vulkan(Some(index)) => write!(f, "vulkan:{index}"),
        }
    }
}

/// A device that was found to work and whose backend is compiled in.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// burn-flex on all threads of rayon's pool.
    Cpu,
    /// The CUDA device of that index.
    #[cfg(feature = "cuda")]
    Cuda(usize),
    /// A device of the Vulkan loader.
    #[cfg(feature = "vulkan")]
    Vulkan(burn::backend::wgpu::WgpuDevice),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(device) => write!(f, "vulkan ({device:?})"),
        }
    }
}

/// Finds the device, before any backend is touched: the CUDA backend panics where a library is missing.
///
/// # Errors
/// A device named explicitly that is not compiled in, or that lacks a library, a driver or an adapter.
/// `auto` never fails: it falls back to the CPU and logs why.
pub fn resolve(choice: DeviceChoice) -> Result<Device> {
    let refuse = |problem: String| Error::Device { device: choice.to_string(), problem };
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(index) => cuda_device(index).map_err(refuse),
        DeviceChoice::Vulkan(index) => vulkan_device(index).map_err(refuse),
        DeviceChoice::Auto => Ok(cuda_device(0).unwrap_or_else(|reason| {
            tracing::info!("running on the CPU: {reason}");
            Device::Cpu
        })),
    }
}

#[cfg(feature = "cuda")]
fn cuda_device(index: usize) -> std::result::Result<Device, String> {
    let found = cuda::probe();
    let count = found.usable()?.len();
    if index < count {
        return Ok(Device::Cuda(index));
    }
    Err(format!("there are {count} CUDA devices, numbered from 0"))
}

#[cfg(not(feature = "cuda"))]
fn cuda_device(_index: usize) -> std::result::Result<Device, String> {
    Err("this build has no CUDA; build with `--features cuda`".to_owned())
}

#[cfg(feature = "vulkan")]
fn vulkan_device(index: Option<usize>) -> std::result::Result<Device, String> {
    use burn::backend::wgpu::WgpuDevice;

    let adapters = vulkan::probe()?;
    let Some(index) = index else {
        return Ok(Device::Vulkan(WgpuDevice::DefaultDevice));
    };
    let Some(adapter) = adapters.get(index) else {
        return Err(format!("there are {} Vulkan devices, numbered from 0", adapters.len()));
    };
    // wgpu numbers the adapters of each kind on their own.
    let nth = adapters[..index].iter().filter(|other| other.kind == adapter.kind).count();
    Ok(Device::Vulkan(match adapter.kind {
        vulkan::AdapterKind::Discrete => WgpuDevice::DiscreteGpu(nth),
        vulkan::AdapterKind::Integrated => WgpuDevice::IntegratedGpu(nth),
        vulkan::AdapterKind::Virtual => WgpuDevice::VirtualGpu(nth),
        vulkan::AdapterKind::Cpu => WgpuDevice::Cpu,
        vulkan::AdapterKind::Other => WgpuDevice::DefaultDevice,
    }))
}

#[cfg(not(feature = "vulkan"))]
fn vulkan_device(_index: Option<usize>) -> std::result::Result<Device, String> {
    Err("this build has no Vulkan; build with `--features vulkan`".to_owned())
}

/// The device's product name, for reports.
pub fn product(device: &Device) -> String {
    match device {
        Device::Cpu => sysinfo::System::new_all()
            .cpus()
            .first()
            .map_or_else(|| device.to_string(), |core| core.brand().to_owned()),
        #[cfg(feature = "cuda")]
        Device::Cuda(index) => cuda::probe()
            .devices
            .get(*index)
            .map_or_else(|| device.to_string(), |found| found.name.clone()),
        #[cfg(feature = "vulkan")]
        Device::Vulkan(_) => device.to_string(),
    }
}

/// The format of tensors that a precision names.
pub fn format_of(precision: Precision) -> DType {
    match precision {
        Precision::Auto | Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::F16 => DType::F16,
    }
}

/// The format of tensors for what the user asked for, found to work on `device`.
///
/// # Errors
/// The device cannot compute in it.
pub fn number_format<B: Kernels>(precision: Precision, device: &B::Device) -> Result<DType> {
    let format = format_of(precision);
    if B::computes_in(device, format) {
        return Ok(format);
    }
    let name = precision.name();
    let problem = format!("networks cannot compute in {name} on it; use precision auto or f32");
    Err(Error::Device { device: format!("{device:?}"), problem })
}

/// Backends compiled into this build, for `geoseg doctor`.
pub const COMPILED: &[&str] = &[
    "cpu",
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "vulkan")]
    "vulkan",
];

/// Runs an expression with an inference backend and its device.
///
/// ```
/// use burn::tensor::backend::Backend;
/// use geoseg::{device::Device, with_backend};
///
/// let name = with_backend!(&Device::Cpu, |B, device| B::name(&device));
/// assert!(name.contains("flex"));
/// ```
#[macro_export]
macro_rules! with_backend {
    ($device:expr, |$backend:ident, $handle:ident| $body:expr) => {
        $crate::dispatch_backend!($device, $backend, $handle, $body, [])
    };
}

/// As [`with_backend!`], with the backend wrapped in `Autodiff`: for training.
#[macro_export]
macro_rules! with_autodiff_backend {
    ($device:expr, |$backend:ident, $handle:ident| $body:expr) => {
        $crate::dispatch_backend!($device, $backend, $handle, $body, [autodiff])
    };
}

/// The one list of backends behind the two macros above.
#[doc(hidden)]
#[macro_export]
macro_rules! dispatch_backend {
    ($device:expr, $backend:ident, $handle:ident, $body:expr, $wrap:tt) => {
        match ::core::clone::Clone::clone($device) {
            $crate::device::Device::Cpu => {
                $crate::dispatch_backend!(@alias $backend, ::burn::backend::Flex, $wrap);
                let $handle = ::burn::backend::flex::FlexDevice;
                $body
            }
            #[cfg(feature = "cuda")]
            $crate::device::Device::Cuda(index) => {
                $crate::dispatch_backend!(@alias $backend, ::burn::backend::Cuda<f32, i32>, $wrap);
                let $handle = ::burn::backend::cuda::CudaDevice { index };
                $body
            }
            #[cfg(feature = "vulkan")]
            $crate::device::Device::Vulkan($handle) => {
                $crate::dispatch_backend!(@alias $backend, ::burn::backend::Vulkan, $wrap);
                $body
            }
        }
    };
    (@alias $backend:ident, $type:ty, []) => {
        type $backend = $type;
    };
    (@alias $backend:ident, $type:ty, [autodiff]) => {
        type $backend = ::burn::backend::Autodiff<$type>;
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_read_back_as_they_are_shown() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "vulkan", "vulkan:1"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    }

    #[test]
    fn wrong_names_say_what_is_allowed() {
        for name in ["gpu", "cpu:1", "auto:0", "cuda:x", "cuda:-1", ""] {
            let message = name.parse::<DeviceChoice>().unwrap_err();
            assert!(message.contains("expected auto") || message.contains("index"), "{message}");
        }
    }

    #[test]
    fn auto_always_finds_a_device() {
        resolve(DeviceChoice::Auto).unwrap();
    }

    #[test]
    fn an_index_beyond_the_devices_is_refused_without_a_panic() {
        let message = resolve(DeviceChoice::Cuda(999)).unwrap_err().to_string();
        assert!(message.starts_with("device cuda:999: "), "{message}");
        let message = resolve(DeviceChoice::Vulkan(Some(999))).unwrap_err().to_string();
        assert!(message.starts_with("device vulkan:999: "), "{message}");
    }

    #[test]
    fn the_macros_bind_backend_and_device() {
        use burn::tensor::{Tensor, backend::Backend};

        let sum = with_backend!(&Device::Cpu, |B, device| {
            Tensor::<B, 1>::from_floats([1.0, 2.0], &device).sum().into_scalar()
        });
        assert_eq!(sum, 3.0);
        let differentiable = with_autodiff_backend!(&Device::Cpu, |B, device| {
            assert!(!B::name(&device).is_empty());
            B::ad_enabled(&device)
        });
        assert!(differentiable);
    }
}
