//! Zip archives as PyTorch writes them: stored, with every entry's data at a multiple of 64 bytes.

use crate::import::zip::{CENTRAL, END, LOCAL, crc32};

/// PyTorch maps files into memory and wants numbers at such offsets.
const ALIGNED: usize = 64;
/// Length of an entry's own header without its name.
const LOCAL_BYTES: usize = 30;
/// Version of the format that stored entries need.
const VERSION: u16 = 20;
/// Midnight of 1 January 1980, the first that there is: the same model gives the same bytes.
const TIME_AND_DATE: [u16; 2] = [0, 0x21];
/// Tag of the extra field that pads, as PyTorch has it.
const PADDING_TAG: &[u8] = b"FB";

/// An archive of entries by name; `None` where 32 bits do not hold its sizes.
pub fn archive(entries: &[(String, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in entries {
        let start = u32::try_from(bytes.len()).ok()?;
        let size = u32::try_from(data.len()).ok()?;
        let length = u16::try_from(name.len()).ok()?;
        let mut common = Vec::new();
        // Versions apart: flags, method, time and date.
        for field in [VERSION, 0, 0, TIME_AND_DATE[0], TIME_AND_DATE[1]] {
            common.extend(field.to_le_bytes());
        }
        for field in [crc32(data), size, size] {
            common.extend(field.to_le_bytes());
        }
        common.extend(length.to_le_bytes());

        // Tag and length of the extra field, then as many bytes as are missing.
        let before = bytes.len() + LOCAL_BYTES + name.len() + PADDING_TAG.len() + 2;
        let missing = before.next_multiple_of(ALIGNED) - before;
        bytes.extend(LOCAL.to_le_bytes());
        bytes.extend(&common);
        bytes.extend(((PADDING_TAG.len() + 2 + missing) as u16).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(PADDING_TAG);
        bytes.extend((missing as u16).to_le_bytes());
        bytes.resize(bytes.len() + missing, b'Z');
        bytes.extend(data);

        directory.extend(CENTRAL.to_le_bytes());
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&common);
        // No extra field, comment, disk or attributes.
        directory.extend([0; 2 + 2 + 2 + 2 + 4]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = u32::try_from(bytes.len()).ok()?;
    let size = u32::try_from(directory.len()).ok()?;
    let count = u16::try_from(entries.len()).ok()?;
    bytes.extend(directory);
    bytes.extend(END.to_le_bytes());
    for field in [0, 0, count, count] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(size.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::zip::Archive;

    #[test]
    fn entries_come_back_and_lie_at_multiples_of_64() {
        let entries: Vec<(String, Vec<u8>)> =
            (0u8..40).map(|i| (format!("folder/{}", "x".repeat(i.into())), vec![i; 7])).collect();
        let bytes = archive(&entries).unwrap();
        let read = Archive::open(&bytes).unwrap();
        for (name, data) in &entries {
            let found = read.read(name).unwrap();
            assert_eq!(found, data);
            assert_eq!((found.as_ptr() as usize - bytes.as_ptr() as usize) % ALIGNED, 0);
        }
    }
}
