//! What `geoseg doctor` finds, as data and as a table.

use std::path::{Path, PathBuf};

use comfy_table::{Cell, Table, presets};
use serde::Serialize;
use sysinfo::{Disks, System};

use crate::device::{self, cuda, vulkan};

/// GDAL drivers that reading and writing need, and what for.
const DRIVERS: &[(&str, &str)] = &[
    ("GTiff", "scenes, tiles, scores"),
    ("COG", "scores"),
    ("VRT", "mosaics, resampling"),
    ("PNG", "masks, plain pictures"),
    ("JPEG", "plain pictures"),
    ("GIF", "masks of photos"),
    ("MEM", "resampling, burning labels"),
    ("GeoJSON", "footprints, buildings"),
    ("GeoJSONSeq", "buildings as .geojsonl"),
    ("GPKG", "the tile index, buildings as .gpkg"),
    ("FlatGeobuf", "buildings as .fgb"),
    ("ESRI Shapefile", "buildings as .shp"),
];

/// The machine, as far as geoseg cares.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    geoseg: &'static str,
    backends: &'static [&'static str],
    gdal: Gdal,
    processor: Processor,
    cuda: cuda::Cuda,
    vulkan: Vulkan,
    memory: Memory,
    disk: Option<Disk>,
}

#[derive(Debug, Serialize)]
struct Gdal {
    version: String,
    drivers: Vec<Driver>,
    /// What PROJ says when it cannot read its database.
    proj_problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Driver {
    name: &'static str,
    used_for: &'static str,
    present: bool,
}

#[derive(Debug, Serialize)]
struct Processor {
    name: String,
    cores: usize,
    threads: usize,
    features: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Vulkan {
    adapters: Vec<vulkan::Adapter>,
    missing: Option<String>,
}

#[derive(Debug, Serialize)]
struct Memory {
    total_bytes: u64,
    available_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Disk {
    folder: PathBuf,
    free_bytes: u64,
    total_bytes: u64,
}

impl Report {
    pub(super) fn gather() -> Self {
        let system = System::new_all();
        let (adapters, missing) = match vulkan::probe() {
            Ok(adapters) => (adapters, None),
            Err(missing) => (Vec::new(), Some(missing)),
        };
        Self {
            geoseg: env!("CARGO_PKG_VERSION"),
            backends: device::COMPILED,
            gdal: Gdal::gather(),
            processor: Processor::gather(&system),
            cuda: cuda::probe(),
            vulkan: Vulkan { adapters, missing },
            memory: Memory::gather(&system),
            disk: Disk::gather(),
        }
    }

    /// The number of things that every stage needs.
    pub(super) fn checked(&self) -> usize {
        self.gdal.drivers.len() + 1
    }

    /// How many of them are missing.
    pub(super) fn failed(&self) -> usize {
        let missing = self.gdal.drivers.iter().filter(|driver| !driver.present).count();
        missing + usize::from(self.gdal.proj_problem.is_some())
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let mut row = |label: &str, value: String| {
            table.add_row([Cell::new(label), Cell::new(value)]);
        };
        row("geoseg", format!("{}, backends: {}", self.geoseg, self.backends.join(", ")));
        row("GDAL", self.gdal.version.clone());
        for driver in &self.gdal.drivers {
            let state = if driver.present { "yes" } else { "MISSING, for" };
            let used_for =
                if driver.present { String::new() } else { format!(" {}", driver.used_for) };
            row(&format!("  {}", driver.name), format!("{state}{used_for}"));
        }
        row(
            "PROJ database",
            match &self.gdal.proj_problem {
                None => "found".to_owned(),
                Some(problem) => format!("MISSING: {problem}; set PROJ_DATA to its folder"),
            },
        );
        row("processor", self.processor.name.clone());
        row("  cores", format!("{} ({} used)", self.processor.cores, self.processor.threads));
        row("  features", self.processor.features.join(" "));
        let version = |version: Option<(u32, u32)>| match version {
            Some((major, minor)) => format!("{major}.{minor}"),
            None => "not found".to_owned(),
        };
        row(
            "CUDA",
            match &self.cuda.missing {
                None => "ready".to_owned(),
                Some(reason) => format!("not available: {reason}"),
            },
        );
        if self.cuda.driver.is_some() {
            row("  driver runs", version(self.cuda.driver));
            row("  NVRTC", version(self.cuda.nvrtc));
            let headers = self.cuda.headers.as_ref();
            row(
                "  headers",
                headers.map_or("not found".to_owned(), |path| path.display().to_string()),
            );
        }
        for device in &self.cuda.devices {
            let memory = bytes(device.memory_bytes);
            row(&format!("  cuda:{}", device.index), format!("{}, {memory}", device.name));
        }
        row(
            "Vulkan",
            match &self.vulkan.missing {
                Some(reason) => format!("not available: {reason}"),
                None if self.backends.contains(&"vulkan") => "ready".to_owned(),
                None => "found, but this build has no Vulkan".to_owned(),
            },
        );
        for adapter in &self.vulkan.adapters {
            let kind = format!("{:?}", adapter.kind).to_lowercase();
            row(&format!("  vulkan:{}", adapter.index), format!("{} ({kind})", adapter.name));
        }
        let memory = &self.memory;
        row(
            "memory",
            format!("{} free of {}", bytes(memory.available_bytes), bytes(memory.total_bytes)),
        );
        if let Some(disk) = &self.disk {
            let (free, total) = (bytes(disk.free_bytes), bytes(disk.total_bytes));
            row("disk", format!("{free} free of {total} under {}", disk.folder.display()));
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

impl Gdal {
    fn gather() -> Self {
        let drivers = DRIVERS.iter().map(|&(name, used_for)| Driver {
            name,
            used_for,
            present: gdal::DriverManager::get_driver_by_name(name).is_ok(),
        });
        Self {
            version: gdal::version::version_info("RELEASE_NAME"),
            drivers: drivers.collect(),
            // Any code outside GDAL's built-in few needs the database.
            proj_problem: gdal::spatial_ref::SpatialRef::from_epsg(32645)
                .err()
                .map(|error| error.to_string()),
        }
    }
}

impl Processor {
    fn gather(system: &System) -> Self {
        let name = system.cpus().first().map_or("unknown", |cpu| cpu.brand());
        Self {
            name: name.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            features: features(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    known.into_iter().filter_map(|(name, found)| found.then_some(name)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

impl Memory {
    fn gather(system: &System) -> Self {
        // A container may be allowed less than the machine has.
        let limits = system.cgroup_limits();
        let at_most = |limit: Option<u64>, value: u64| limit.map_or(value, |l| l.min(value));
        Self {
            total_bytes: at_most(limits.as_ref().map(|l| l.total_memory), system.total_memory()),
            available_bytes: at_most(
                limits.as_ref().map(|l| l.free_memory),
                system.available_memory(),
            ),
        }
    }
}

impl Disk {
    fn gather() -> Option<Self> {
        let folder = std::env::current_dir().ok()?;
        let disks = Disks::new_with_refreshed_list();
        let holds = |mount: &Path| folder.starts_with(mount);
        let disk = disks
            .list()
            .iter()
            .filter(|disk| holds(disk.mount_point()))
            .max_by_key(|disk| disk.mount_point().as_os_str().len())?;
        Some(Self { free_bytes: disk.available_space(), total_bytes: disk.total_space(), folder })
    }
}

fn bytes(count: u64) -> String {
    format!("{:.1} GiB", count as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_can_be_read_by_people_and_programs() {
        let report = Report::gather();
        assert!(report.table().contains("GDAL"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["gdal"]["drivers"].as_array().unwrap().len(), DRIVERS.len());
        assert!(report.failed() <= report.checked());
    }
}
