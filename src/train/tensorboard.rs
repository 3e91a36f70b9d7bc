//! Scalars for TensorBoard: event files as TFRecords of `Event` messages, written by hand.
//!
//! The formats: `tensorflow/core/lib/io/record_writer.h` (length, masked CRC-32C of the length, message,
//! masked CRC-32C of the message; little endian) and `tensorflow/core/util/event.proto`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An event file being written.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Starts an event file, replacing one that is there. TensorBoard wants `tfevents` in its name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path, wall_time_s: f64) -> Result<Self> {
        let file = File::create(path).map_err(Error::io(path))?;
        let mut events = Self { path: path.to_owned(), file };
        let mut event = event(wall_time_s, 0);
        bytes_field(&mut event, 3, b"brain.Event:2");
        events.write(&event)?;
        Ok(events)
    }

    /// Appends the values of one step.
    ///
    /// # Errors
    /// The disk is full.
    pub fn scalars(&mut self, wall_time_s: f64, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            bytes_field(&mut entry, 1, tag.as_bytes());
            entry.push(2 << 3 | FIXED32);
            entry.extend((*value as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &entry);
        }
        let mut event = event(wall_time_s, step);
        bytes_field(&mut event, 5, &summary);
        self.write(&event)
    }

    fn write(&mut self, message: &[u8]) -> Result<()> {
        self.file.write_all(&record(message)).map_err(Error::io(&self.path))
    }
}

/// Protocol buffers' wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

/// `Event.wall_time` and `Event.step`.
fn event(wall_time_s: f64, step: u64) -> Vec<u8> {
    let mut event = vec![1 << 3 | FIXED64];
    event.extend(wall_time_s.to_le_bytes());
    if step > 0 {
        event.push(2 << 3 | VARINT);
        varint(&mut event, step);
    }
    event
}

fn bytes_field(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | LENGTH_DELIMITED);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

/// TFRecord stores checksums rotated and shifted, as a checksum of data that holds checksums is weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: event files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_equal_the_published_vectors() {
        // RFC 3720, B.4, and the customary check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn an_event_file_begins_as_those_of_tensorflow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.1");
        let mut events = EventFile::create(&path, 1.0).unwrap();
        events.scalars(2.0, 300, &[("loss", 0.5), ("iou", 0.25)]).unwrap();
        let bytes = std::fs::read(path).unwrap();
        // The first record of every event file: 24 bytes long, with the checksum of that length.
        assert_eq!(bytes[..12], [0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(bytes[12..21], [9, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(&bytes[21..36], b"\x1a\x0dbrain.Event:2");
        let second = &bytes[40..];
        let message: &[u8] = &[
            9, 0, 0, 0, 0, 0, 0, 0, 0x40, // wall_time 2.0
            0x10, 0xac, 0x02, // step 300
            0x2a, 24, // summary
            0x0a, 11, 0x0a, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f, // loss 0.5
            0x0a, 10, 0x0a, 3, b'i', b'o', b'u', 0x15, 0, 0, 0x80, 0x3e, // iou 0.25
        ];
        let mut summary_length = message.to_vec();
        summary_length[13] = (message.len() - 14) as u8;
        assert_eq!(second[0] as usize, message.len());
        assert_eq!(second[12..12 + message.len()], summary_length);
        assert_eq!(second.len(), 12 + message.len() + 4);
    }
}
