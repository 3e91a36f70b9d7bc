//! The bytes of a file, on disk or remote, range by range.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Result};
use crate::geo::remote::{self, RemoteFile};

/// A remote page's header is read in pieces of this size: some are larger, none by much.
const HEADER_BYTES: usize = 512;

/// An open file.
pub(super) enum Source {
    Disk(File),
    Remote(Arc<RemoteFile>),
}

impl Source {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if remote::is_remote(path) {
            return Ok(Self::Remote(Arc::new(RemoteFile::open(path)?)));
        }
        if path.is_dir() {
            let hint = "name one of its files";
            return Err(Error::input(path, "a GeoParquet file", "a folder", hint));
        }
        match File::open(path) {
            Ok(file) => Ok(Self::Disk(file)),
            Err(problem) if problem.kind() == ErrorKind::NotFound => {
                Err(Error::input(path, "a GeoParquet file", "no such file", "check the path"))
            }
            Err(problem) => Err(Error::io(path)(problem)),
        }
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        match self {
            Self::Disk(file) => Length::len(file),
            Self::Remote(file) => file.len(),
        }
    }
}

impl ChunkReader for Source {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(match self {
            Self::Disk(file) => Box::new(file.get_read(start)?),
            Self::Remote(file) => {
                let rest = Rest { file: file.clone(), at: start };
                Box::new(BufReader::with_capacity(HEADER_BYTES, rest))
            }
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Self::Disk(file) => file.get_bytes(start, length),
            Self::Remote(file) => {
                // A damaged length would ask for more memory than there is.
                if start.saturating_add(length as u64) > file.len() {
                    return Err(ParquetError::EOF("the file ends early".to_owned()));
                }
                let mut bytes = vec![0; length];
                let read = file.read_at(start, &mut bytes);
                if read < length {
                    let problem = format!("{read} of {length} bytes came from the server");
                    return Err(ParquetError::EOF(problem));
                }
                Ok(bytes.into())
            }
        }
    }
}

/// A remote file from a byte on.
struct Rest {
    file: Arc<RemoteFile>,
    at: u64,
}

impl Read for Rest {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(self.at, bytes);
        self.at += read as u64;
        Ok(read)
    }
}
