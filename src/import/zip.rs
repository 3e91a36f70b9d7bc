//! Zip archives as PyTorch writes them: stored, not compressed.
//!
//! Only what the central directory lists is looked at. An entry lies where it says, inside the file and apart from all
//! others, so that an archive can never hold more than its file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::bytes::Bytes;
use super::problem::{Parsed, Problem, shown};

/// The entries of an archive.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    data: Range<usize>,
    crc: u32,
}

/// What an archive begins with: its first entry.
pub const MAGIC: &[u8] = b"PK\x03\x04";
/// What the header of an entry, its record in the directory, and the record behind that begin with.
pub const LOCAL: u32 = 0x0403_4b50;
pub const CENTRAL: u32 = 0x0201_4b50;
pub const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
/// Length of the record that ends an archive, without its comment of at most 65535 bytes.
const END_BYTES: usize = 22;
const LOCATOR_BYTES: usize = 20;
/// Length of a central record without its name.
const CENTRAL_BYTES: usize = 46;
/// Tag of the extra field with the sizes that 32 bits cannot hold.
const ZIP64_TAG: u16 = 1;
const SAVE_AGAIN: &str = "save the weights again with torch.save";

fn damaged(found: impl Into<String>) -> Problem {
    Problem::damaged("a whole zip archive of torch.save", found)
}

fn truncated() -> Problem {
    damaged("records that end too early")
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    ///
    /// # Errors
    /// The archive is damaged, compressed, encrypted or split.
    pub fn open(bytes: &'a [u8]) -> Parsed<Self> {
        let directory = Directory::find(bytes)?;
        let mut records = Bytes::new(&bytes[..directory.bytes.end], directory.bytes.start);
        let mut entries = BTreeMap::new();
        for _ in 0..directory.entries {
            let (name, entry) = read_entry(bytes, &mut records, directory.bytes.start)?;
            if entries.insert(name.clone(), entry).is_some() {
                return Err(damaged(format!("two entries `{}`", shown(&name))));
            }
        }
        let mut ranges: Vec<&Range<usize>> = entries.values().map(|entry| &entry.data).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        if ranges.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(damaged("entries that overlap"));
        }
        Ok(Self { bytes, entries })
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The contents of an entry, compared with its checksum.
    ///
    /// # Errors
    /// There is no such entry, or its bytes have changed.
    pub fn read(&self, name: &str) -> Parsed<&'a [u8]> {
        let entry =
            self.entries.get(name).ok_or_else(|| damaged(format!("no entry `{}`", shown(name))))?;
        let data = &self.bytes[entry.data.clone()];
        if crc32(data) != entry.crc {
            return Err(Problem::new(
                "contents that match their checksums",
                format!("other bytes in `{}`", shown(name)),
                "the file is damaged, or was saved without checksums: fetch or save it again",
            ));
        }
        Ok(data)
    }
}

/// Where the records of the entries are.
struct Directory {
    bytes: Range<usize>,
    entries: u64,
}

impl Directory {
    fn find(bytes: &[u8]) -> Parsed<Self> {
        let end =
            find_end(bytes).ok_or_else(|| damaged("no directory at its end: a part is missing"))?;
        let mut directory = Self::read_end(bytes, end).ok_or_else(truncated)?;
        let locator = end.checked_sub(LOCATOR_BYTES).unwrap_or(end);
        let mut record = Bytes::new(bytes, locator);
        if record.u32() == Some(LOCATOR_64) {
            directory = Self::read_end_64(bytes, &mut record)?;
        }
        let (disks, entries, size, start) = directory;
        if disks != (0, 0) {
            return Err(Problem::new("one file", "a part of a split archive", SAVE_AGAIN));
        }
        let inside = |value: u64| usize::try_from(value).ok().filter(|&value| value <= end);
        let (start, size) = (inside(start), inside(size));
        let range = start.zip(size).map(|(start, size)| start..start.saturating_add(size));
        let range = range
            .filter(|range| range.end <= end)
            .ok_or_else(|| damaged("a directory that lies outside the file"))?;
        if entries > (range.len() / CENTRAL_BYTES) as u64 {
            return Err(damaged(format!("{entries} entries in a directory too short for them")));
        }
        Ok(Self { bytes: range, entries })
    }

    /// Disks, number of entries, size and start.
    fn read_end(bytes: &[u8], end: usize) -> Option<((u32, u32), u64, u64, u64)> {
        let mut record = Bytes::new(bytes, end + 4);
        let disks = (u32::from(record.u16()?), u32::from(record.u16()?));
        let _on_this_disk = record.u16()?;
        let entries = u64::from(record.u16()?);
        Some((disks, entries, u64::from(record.u32()?), u64::from(record.u32()?)))
    }

    fn read_end_64(bytes: &[u8], locator: &mut Bytes) -> Parsed<((u32, u32), u64, u64, u64)> {
        let read = |locator: &mut Bytes| {
            let _disk = locator.u32()?;
            let mut record = Bytes::new(bytes, usize::try_from(locator.u64()?).ok()?);
            if record.u32()? != END_64 {
                return None;
            }
            // Its own size, and the versions of writer and format.
            record.take(8 + 2 + 2)?;
            let disks = (record.u32()?, record.u32()?);
            let _on_this_disk = record.u64()?;
            Some((disks, record.u64()?, record.u64()?, record.u64()?))
        };
        read(locator).ok_or_else(|| damaged("no zip64 directory where one is announced"))
    }
}

/// The last record that ends exactly where the file does.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|&at| {
        let mut record = Bytes::new(bytes, at);
        let signature = record.u32();
        record.take(16);
        signature == Some(END) && record.u16().map(usize::from) == Some(last - at)
    })
}

/// The next record of the directory; the data must end before `limit`.
fn read_entry(bytes: &[u8], records: &mut Bytes, limit: usize) -> Parsed<(String, Entry)> {
    let record = Central::read(records)
        .ok_or_else(|| damaged("a directory with records that are not whole"))?;
    let name = std::str::from_utf8(record.name)
        .map_err(|_| damaged("a name that is no UTF-8"))?
        .to_owned();
    let refused = |found: &str| Problem::new("stored entries", found, SAVE_AGAIN);
    if record.flags & 1 != 0 {
        return Err(refused(&format!("`{}`, which is encrypted", shown(&name))));
    }
    if record.method != 0 || record.compressed != record.size {
        return Err(refused(&format!("`{}`, which is compressed", shown(&name))));
    }
    let start = local_data(bytes, record.offset, record.name)
        .ok_or_else(|| damaged(format!("no data of `{}` where it should be", shown(&name))))?;
    let end = usize::try_from(record.size).ok().and_then(|size| start.checked_add(size));
    let end = end.filter(|&end| end <= limit).ok_or_else(|| {
        damaged(format!("`{}` of {} bytes, more than there are", shown(&name), record.size))
    })?;
    Ok((name, Entry { data: start..end, crc: record.crc }))
}

struct Central<'a> {
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    offset: u64,
    name: &'a [u8],
}

impl<'a> Central<'a> {
    fn read(records: &mut Bytes<'a>) -> Option<Self> {
        if records.u32()? != CENTRAL {
            return None;
        }
        records.take(4)?; // versions of writer and format
        let (flags, method) = (records.u16()?, records.u16()?);
        records.take(4)?; // time and date
        let crc = records.u32()?;
        let (compressed, size) = (records.u32()?, records.u32()?);
        let (name, extra, comment) = (records.u16()?, records.u16()?, records.u16()?);
        records.take(8)?; // disk and attributes
        let offset = records.u32()?;
        let name = records.take(name.into())?;
        let extra = records.take(extra.into())?;
        records.take(comment.into())?;
        // In this order, those that say that they do not fit.
        let mut long = zip64(extra);
        let mut wide = |short: u32| match (short, &mut long) {
            (u32::MAX, Some(long)) => long.u64(),
            (short, _) => Some(u64::from(short)),
        };
        let size = wide(size)?;
        let compressed = wide(compressed)?;
        let offset = wide(offset)?;
        Some(Self { flags, method, crc, compressed, size, offset, name })
    }
}

/// The numbers of the zip64 field among the extra fields.
fn zip64(extra: &[u8]) -> Option<Bytes<'_>> {
    let mut fields = Bytes::new(extra, 0);
    loop {
        let (tag, length) = (fields.u16()?, fields.u16()?);
        let field = fields.take(length.into())?;
        if tag == ZIP64_TAG {
            return Some(Bytes::new(field, 0));
        }
    }
}

/// Where the data of the entry begin whose own header is at `offset`.
fn local_data(bytes: &[u8], offset: u64, expected_name: &[u8]) -> Option<usize> {
    let mut header = Bytes::new(bytes, usize::try_from(offset).ok()?);
    if header.u32()? != LOCAL {
        return None;
    }
    header.take(22)?; // the directory has these fields, too
    let (name, extra) = (header.u16()?, header.u16()?);
    let name = header.take(name.into())?;
    header.take(extra.into())?;
    (name == expected_name).then_some(header.at())
}

/// The checksum of zip (polynomial 0xEDB88320), a byte at a time.
pub fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let mut crc = u32::MAX;
    for byte in bytes {
        crc = TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8);
    }
    !crc
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    /// An archive of one entry `a` that holds `abc`; the sizes in the directory as given.
    fn archive(method: u16, size: u32, extra: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0; 22]);
        bytes.extend([1, 0, 0, 0, b'a', b'a', b'b', b'c']);
        let start = bytes.len() as u32;
        bytes.extend(CENTRAL.to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend(method.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(crc32(b"abc").to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend([1, 0, extra.len() as u8, 0, 0, 0]);
        bytes.extend([0; 12]);
        bytes.push(b'a');
        bytes.extend(extra);
        let length = bytes.len() as u32 - start;
        bytes.extend(END.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 1, 0, 1, 0]);
        bytes.extend(length.to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn zip64_extra(size: u64) -> Vec<u8> {
        let mut extra = vec![1, 0, 16, 0];
        extra.extend(size.to_le_bytes());
        extra.extend(size.to_le_bytes());
        extra
    }

    #[test]
    fn stored_entries_are_read_with_sizes_of_32_and_64_bits() {
        let bytes = archive(0, 3, &[]);
        assert_eq!(Archive::open(&bytes).unwrap().read("a").unwrap(), b"abc");
        let bytes = archive(0, u32::MAX, &zip64_extra(3));
        assert_eq!(Archive::open(&bytes).unwrap().read("a").unwrap(), b"abc");
    }

    #[test]
    fn compressed_entries_and_sizes_beyond_the_file_are_refused() {
        let message = |bytes: &[u8]| {
            Archive::open(bytes).unwrap_err().of(std::path::Path::new("x.pth")).to_string()
        };
        assert!(message(&archive(8, 3, &[])).contains("compressed"));
        assert!(message(&archive(0, 4, &[])).contains("more than there are"));
        assert!(message(&archive(0, u32::MAX, &[])).contains("more than there are"));
        let bomb = archive(0, u32::MAX, &zip64_extra(u64::MAX));
        assert!(message(&bomb).contains("more than there are"));
        let mut changed = archive(0, 3, &[]);
        changed[31] = b'x';
        assert!(Archive::open(&changed).unwrap().read("a").is_err());
        let whole = archive(0, 3, &[]);
        for length in 0..whole.len() {
            assert!(Archive::open(&whole[..length]).is_err(), "{length}");
        }
    }
}
