//! Connected components of the rows seen so far: a union-find whose places are used again.

use super::patch::Patch;

/// What is known of one component that is still growing.
#[derive(Debug, Default)]
pub(super) struct Component {
    /// Another component that this one became part of, or itself.
    parent: u32,
    /// Row of the last run that joined.
    pub(super) last_row: u32,
    /// (row, column) of the first pixel in reading order.
    pub(super) first: (u32, u32),
    pub(super) pixels: u64,
    pub(super) score_sum: u64,
    pub(super) score_min: u8,
    /// Empty unless scores are kept.
    pub(super) patch: Patch,
    /// It touches the first row of a block, and waits for what may come from above.
    pub(super) touches_seam: bool,
    /// One vertex or more of every boundary ring, closed or not.
    pub(super) ring_starts: Vec<u32>,
}

/// The components that touch the last row.
#[derive(Debug, Default)]
pub(super) struct Components {
    slots: Vec<Component>,
    free: Vec<u32>,
    /// Components that became part of another since the last [`Components::recycle_merged`].
    merged: Vec<u32>,
}

impl Components {
    /// A new component that starts at (row, column).
    pub(super) fn add(&mut self, first: (u32, u32)) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Component::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[id as usize];
        (slot.parent, slot.first, slot.pixels) = (id, first, 0);
        (slot.score_sum, slot.score_min, slot.last_row) = (0, u8::MAX, first.0);
        slot.touches_seam = false;
        id
    }

    /// Takes out what is known of a component (given by what `find` says), which keeps its place.
    pub(super) fn take(&mut self, id: u32) -> Component {
        let nothing = Component { parent: id, ..Component::default() };
        std::mem::replace(&mut self.slots[id as usize], nothing)
    }

    /// Takes a component of a block.
    pub(super) fn adopt(&mut self, component: Component) -> u32 {
        let id = self.add(component.first);
        self.slots[id as usize] = Component { parent: id, ..component };
        id
    }

    /// Places, free ones among them.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The component that `id` is, or became part of.
    pub(super) fn find(&mut self, mut id: u32) -> u32 {
        while self.slots[id as usize].parent != id {
            let up = self.slots[id as usize].parent;
            self.slots[id as usize].parent = self.slots[up as usize].parent;
            id = up;
        }
        id
    }

    pub(super) fn get(&mut self, id: u32) -> &mut Component {
        &mut self.slots[id as usize]
    }

    /// Makes one of two components (given by what `find` says) and returns it.
    pub(super) fn union(&mut self, a: u32, b: u32) -> u32 {
        if a == b {
            return a;
        }
        // The longer list stays where it is: merging costs n log n in all.
        let longer = |id: u32| self.slots[id as usize].ring_starts.len();
        let (keep, gone) = if longer(a) >= longer(b) { (a, b) } else { (b, a) };
        let slot = &mut self.slots[gone as usize];
        slot.parent = keep;
        let (first, pixels) = (slot.first, slot.pixels);
        let (sum, min) = (slot.score_sum, slot.score_min);
        let (last_row, touches_seam) = (slot.last_row, slot.touches_seam);
        let patch = std::mem::take(&mut slot.patch);
        let mut starts = std::mem::take(&mut slot.ring_starts);
        let kept = &mut self.slots[keep as usize];
        kept.first = kept.first.min(first);
        kept.pixels += pixels;
        kept.score_sum += sum;
        kept.score_min = kept.score_min.min(min);
        kept.last_row = kept.last_row.max(last_row);
        kept.touches_seam |= touches_seam;
        kept.patch.merge(patch);
        kept.ring_starts.append(&mut starts);
        self.slots[gone as usize].ring_starts = starts;
        self.merged.push(gone);
        keep
    }

    /// Gives back a finished component's place.
    pub(super) fn remove(&mut self, id: u32) {
        self.slots[id as usize].ring_starts.clear();
        self.free.push(id);
    }

    /// Gives back the places of merged components. Nobody may hold their ids any more.
    pub(super) fn recycle_merged(&mut self) {
        self.free.append(&mut self.merged);
    }
}
