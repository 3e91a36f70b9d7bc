//! The legend of a chart: rows of names above the axes, where they hide no point.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::text;

/// What stands before a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A dot, as points without lines between them are drawn.
    Dot,
    /// A piece of a line.
    Line,
}

/// A name with its key and colour.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) colour: RGBColor,
    pub(super) key: Key,
}

/// Sizes in pixels of the finished picture.
const FONT_PX: usize = 14;
const ROW_PX: usize = 20;
const KEY_PX: usize = 20;
/// Between a key and its name.
const GAP_PX: usize = 6;
/// The middle of small letters lies so much above that of a line of text.
const RAISED_PX: usize = 2;
/// Between two items.
const APART_PX: usize = 22;

/// Items in rows of at most `width_px`, in order.
pub(super) struct Legend {
    rows: Vec<Vec<Item>>,
}

impl Legend {
    /// Items without a name are left out.
    pub(super) fn new(items: impl Iterator<Item = Item>, width_px: usize) -> Self {
        let mut rows: Vec<Vec<Item>> = Vec::new();
        for item in items.filter(|item| !item.name.is_empty()) {
            match rows.last_mut() {
                Some(row) if row_px(row) + APART_PX + item_px(&item) <= width_px => row.push(item),
                _ => rows.push(vec![item]),
            }
        }
        Self { rows }
    }

    /// Height of all rows.
    pub(super) fn height_px(&self) -> usize {
        ROW_PX * self.rows.len()
    }

    /// Draws the rows, each in the middle of `area`, which is drawn `times` as large as the finished picture.
    pub(super) fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        ink: RGBColor,
        times: u32,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let px = |px: usize| (px as u32 * times) as i32;
        let font = (text::FAMILY, px(FONT_PX)).into_font().color(&ink);
        let font = font.pos(Pos::new(HPos::Left, VPos::Center));
        for (number, row) in self.rows.iter().enumerate() {
            let y = px(ROW_PX * number + ROW_PX / 2);
            let key_y = y - px(RAISED_PX);
            let mut x = (area.dim_in_pixel().0 as i32 - px(row_px(row))) / 2;
            for item in row {
                match item.key {
                    Key::Dot => {
                        let middle = (x + px(KEY_PX / 2), key_y);
                        area.draw(&Circle::new(middle, px(4), item.colour.filled()))?;
                    }
                    Key::Line => {
                        let ends = [(x, key_y), (x + px(KEY_PX), key_y)];
                        area.draw(&PathElement::new(ends, item.colour.stroke_width(px(2) as u32)))?;
                    }
                }
                let at = (x + px(KEY_PX + GAP_PX), y);
                area.draw(&Text::new(item.name.as_str(), at, font.clone()))?;
                x += px(item_px(item) + APART_PX);
            }
        }
        Ok(())
    }
}

fn item_px(item: &Item) -> usize {
    KEY_PX + GAP_PX + text::width_px(&item.name, FONT_PX)
}

fn row_px(row: &[Item]) -> usize {
    row.iter().map(item_px).sum::<usize>() + APART_PX * row.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_order_in_rows_that_fit() {
        let item = |name: &str| Item { name: name.into(), colour: BLACK, key: Key::Dot };
        let names = ["finished", "", "pruned", "best: 3.210e-2", "another", "x"];
        let legend = Legend::new(names.iter().map(|name| item(name)), 200);
        assert!(legend.rows.len() > 1 && legend.height_px() == ROW_PX * legend.rows.len());
        assert!(legend.rows.iter().all(|row| row_px(row) <= 200));
        let kept: Vec<&str> = legend.rows.iter().flatten().map(|item| item.name.as_str()).collect();
        assert_eq!(kept, ["finished", "pruned", "best: 3.210e-2", "another", "x"]);
        // One that is wider than all the room still has a row of its own.
        assert_eq!(Legend::new([item("wide"), item("wider")].into_iter(), 1).rows.len(), 2);
        assert_eq!(Legend::new(std::iter::empty(), 200).height_px(), 0);
    }
}
