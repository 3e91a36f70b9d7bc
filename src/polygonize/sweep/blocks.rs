//! Blocks of rows that are swept apart and put together at their seams.
//!
//! A stub stands for every vertical edge that enters a block from above, and components that touch the block's first row wait. At the
//! seam they meet those of the row above as in any other row, and the stubs become links of the chains that cross it.

use super::{GONE, Known, NONE, Run, SEAM, Sweep, Traced};

/// Rows in the middle of a scene.
#[derive(Debug)]
pub(in crate::polygonize) struct Block {
    sweep: Sweep,
    // The first row.
    runs: Vec<Run>,
    labels: Vec<u32>,
    /// A stub for the left and the right edge of each run.
    stubs: Vec<[u32; 2]>,
    scores: Vec<u8>,
}

impl Block {
    /// A block of a scene that `scene` sweeps, and that begins at `row` with these runs.
    pub(in crate::polygonize) fn new(scene: &Sweep, row: u32, runs: &[Run], known: Known) -> Self {
        let Sweep { neighbours, keeps_scores, .. } = *scene;
        let mut sweep = Sweep { row, neighbours, keeps_scores, in_block: true, ..Sweep::default() };
        let mut labels = Vec::with_capacity(runs.len());
        let mut stubs = Vec::with_capacity(runs.len());
        for run in runs {
            let label = sweep.components.add((row, run.start));
            let component = sweep.components.get(label);
            (component.last_row, component.touches_seam) = (row, true);
            sweep.count(label, run, known);
            labels.push(label);
            stubs.push([sweep.add_vertex(SEAM), sweep.add_vertex(SEAM)]);
        }
        sweep.runs.extend_from_slice(runs);
        sweep.labels.extend_from_slice(&labels);
        sweep.ends.extend_from_slice(&stubs);
        let scores = if keeps_scores { known.scores.to_vec() } else { Vec::new() };
        sweep.scores.extend_from_slice(&scores);
        sweep.row += 1;
        Self { sweep, runs: runs.to_vec(), labels, stubs, scores }
    }

    /// Takes the next row; hands on components that end above it and do not touch the first row.
    pub(in crate::polygonize) fn push(
        &mut self,
        runs: &[Run],
        known: Known,
        done: &mut impl FnMut(Traced),
    ) {
        self.sweep.push(runs, known, done);
    }
}

impl Sweep {
    /// Takes the rows of a block, which begins at the row that comes next; hands on components that ended above the block's last row.
    pub(in crate::polygonize) fn append(&mut self, block: Block, done: &mut impl FnMut(Traced)) {
        let Block { sweep: mut block, runs, labels, stubs, scores } = block;
        let vertices = self.take_vertices(&block);
        let mut names = vec![NONE; block.components.len()];
        let mut take_label = |label: &u32| {
            let root = block.components.find(*label);
            let name = &mut names[root as usize];
            if *name == NONE {
                let mut component = block.components.take(root);
                component.touches_seam = false;
                for start in &mut component.ring_starts {
                    *start = vertices[*start as usize];
                }
                *name = self.components.adopt(component);
            }
            *name
        };
        let first: Vec<u32> = labels.iter().map(&mut take_label).collect();
        let last: Vec<u32> = block.labels.iter().map(&mut take_label).collect();

        self.label(&runs, Known::default(), Some(&first));
        if self.keeps_scores {
            self.keep_beside(&runs, &scores);
        }
        self.trace(&runs);
        for (run, stubs) in stubs.iter().enumerate() {
            for (side, stub) in stubs.iter().enumerate() {
                self.link(side, self.next_ends[run][side], vertices[*stub as usize]);
            }
        }
        let last = last.into_iter().map(|label| self.components.find(label)).collect();
        // What touches the seam from below may end in the block, too.
        self.labels.extend_from_slice(&first);
        self.emit_ended(block.row - 1, done);

        self.row = block.row;
        self.labels = last;
        self.ends = block.ends.iter().map(|ends| ends.map(|end| vertices[end as usize])).collect();
        (self.runs, self.scores) = (block.runs, block.scores);
    }

    /// Moves the vertices of a block here; the new place of each.
    fn take_vertices(&mut self, block: &Sweep) -> Vec<u32> {
        let is_left = |vertex: &super::Vertex| vertex.next != GONE;
        let mut places = vec![NONE; block.vertices.len()];
        for (place, vertex) in places.iter_mut().zip(&block.vertices) {
            if is_left(vertex) {
                *place = self.add_vertex(vertex.corner);
            }
        }
        for (place, vertex) in places.iter().zip(&block.vertices) {
            if is_left(vertex) && vertex.next != NONE {
                self.vertices[*place as usize].next = places[vertex.next as usize];
            }
        }
        places
    }
}
