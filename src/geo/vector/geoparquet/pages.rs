//! Pages that are looked at before they are decoded: what decoders take for granted, and panic without.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::RowGroupReader;

/// Reads a column of a row group.
///
/// # Errors
/// The row group's metadata, or a page, is damaged.
pub(super) fn column_reader(group: &dyn RowGroupReader, place: usize) -> Result<ColumnReader> {
    let column = group.metadata().column(place);
    let starts = [Some(column.data_page_offset()), column.dictionary_page_offset()];
    if column.compressed_size() < 0 || starts.into_iter().flatten().any(|start| start < 0) {
        return Err(damaged("a column before the beginning of the file"));
    }
    let pages = Checked { pages: group.get_column_page_reader(place)?, has_dictionary: false };
    Ok(get_column_reader(column.column_descr_ptr(), Box::new(pages)))
}

struct Checked {
    pages: Box<dyn PageReader>,
    has_dictionary: bool,
}

impl Checked {
    fn check(&mut self, page: &Page) -> Result<()> {
        if matches!(page, Page::DictionaryPage { .. }) {
            self.has_dictionary = true;
            return Ok(());
        }
        let needs_dictionary =
            matches!(page.encoding(), Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY);
        if needs_dictionary && !self.has_dictionary {
            return Err(damaged("values of a dictionary that is not there"));
        }
        if let Page::DataPageV2 { buf, rep_levels_byte_len, def_levels_byte_len, .. } = page
            && u64::from(*rep_levels_byte_len) + u64::from(*def_levels_byte_len) > buf.len() as u64
        {
            return Err(damaged("a page shorter than its levels"));
        }
        Ok(())
    }
}

impl PageReader for Checked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(page) = &page {
            self.check(page)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

impl Iterator for Checked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn damaged(found: &str) -> ParquetError {
    ParquetError::General(found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One page, of whatever kind.
    struct One(Option<Page>);

    impl PageReader for One {
        fn get_next_page(&mut self) -> Result<Option<Page>> {
            Ok(self.0.take())
        }

        fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
            Ok(None)
        }

        fn skip_next_page(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Iterator for One {
        type Item = Result<Page>;

        fn next(&mut self) -> Option<Self::Item> {
            self.0.take().map(Ok)
        }
    }

    fn is_taken(page: Page, has_dictionary: bool) -> bool {
        Checked { pages: Box::new(One(Some(page))), has_dictionary }.get_next_page().is_ok()
    }

    /// A page of 8 bytes.
    fn page(encoding: Encoding, levels: [u32; 2]) -> Page {
        Page::DataPageV2 {
            buf: vec![0; 8].into(),
            num_values: 1,
            encoding,
            num_nulls: 0,
            num_rows: 1,
            def_levels_byte_len: levels[0],
            rep_levels_byte_len: levels[1],
            is_compressed: false,
            statistics: None,
        }
    }

    #[test]
    fn pages_that_decoders_would_panic_on_are_refused() {
        assert!(is_taken(page(Encoding::PLAIN, [8, 0]), false));
        assert!(!is_taken(page(Encoding::PLAIN, [8, 1]), false));
        assert!(!is_taken(page(Encoding::PLAIN, [u32::MAX, u32::MAX]), false));
        for encoding in [Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY] {
            assert!(is_taken(page(encoding, [0, 0]), true));
            assert!(!is_taken(page(encoding, [0, 0]), false));
        }
    }
}
