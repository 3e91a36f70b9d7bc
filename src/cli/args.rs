//! Arguments that several subcommands share.

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{self, Layers};
use crate::device::{self, Device, DeviceChoice};
use crate::error::Result;
use crate::geo::vector::OutputCrs;
use crate::progress::Progress;

/// Options that every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Log more: -v for what a stage decides, -vv for what libraries say
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Only warnings and errors, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How the log on stderr is written
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Threads for computing, all cores where absent
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Global {
    /// Bars on a terminal, log lines elsewhere, nothing with `--quiet`.
    pub fn progress(&self) -> Progress {
        if self.quiet {
            Progress::Hidden
        } else if self.log_format == LogFormat::Text && std::io::stderr().is_terminal() {
            Progress::Terminal
        } else {
            Progress::Log
        }
    }
}

/// Where a stage's configuration comes from.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// TOML file; repeatable, later files override earlier ones key by key
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// One key, over all files; repeatable (lists by index: scene.0.image=a.tif)
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// The typed configuration; `extra` are `key.path=value` texts that stand for other options and
    /// win over `--set`.
    ///
    /// # Errors
    /// As [`config::load`].
    pub fn load<T>(&self, extra: &[String]) -> Result<T>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        self.layers(extra)?.parse()
    }

    /// As [`ConfigArgs::load`], before it is typed: for paths that are relative to their file.
    ///
    /// # Errors
    /// As [`Layers::read`].
    pub fn layers(&self, extra: &[String]) -> Result<Layers> {
        let sets = self.set.iter().chain(extra).cloned().collect::<Vec<_>>();
        config::Layers::read(&self.config, &sets)
    }
}

/// How features are written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Delivery {
    /// CRS of the features: auto (WGS 84 for GeoJSON, the scene's for others), native or EPSG:n; the same as --set
    /// output.crs=CRS
    #[arg(long, value_name = "CRS")]
    crs: Option<OutputCrs>,
}

impl Delivery {
    /// The options that were given, as `key=value` texts.
    pub fn sets(&self) -> Vec<String> {
        self.crs.map(|crs| format!("output.crs={crs}")).into_iter().collect()
    }
}

/// What to compute on.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DeviceArgs {
    /// auto, cpu, cuda, cuda:N, vulkan or vulkan:N; auto takes CUDA where it works and the CPU elsewhere
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
}

impl DeviceArgs {
    /// The device, found to work.
    ///
    /// # Errors
    /// As [`device::resolve`].
    pub fn resolve(self) -> Result<Device> {
        let device = device::resolve(self.device)?;
        tracing::info!("device: {device}");
        Ok(device)
    }
}
