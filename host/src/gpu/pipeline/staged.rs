//! A batch in its slot: what lies where, and what is to be done with it.

use codec::device::RectangleTask;

use super::super::copies::add_tasks;
use super::super::work::Request;
use crate::load::{Batch, Place, Run};

/// Memory for blocks of which parts are wanted.
pub(super) fn scratch_bytes(batch: &Batch<'_>) -> u64 {
    let runs = batch.pieces.iter().flat_map(|piece| &piece.runs);
    let scratch = |run: &Run<'_>| match run.place {
        Place::Direct(_) => 0,
        Place::Scratch(bytes) => bytes,
    };
    runs.map(scratch).sum()
}

/// What the kernels are to do, for a batch that lies at `staging` as it does in pinned memory.
pub(super) fn requests(
    batch: &Batch<'_>,
    staging: u64,
    output: u64,
    mut scratch: u64,
) -> Vec<Request> {
    let mut base = staging + batch.base_at as u64;
    let mut requests = Vec::with_capacity(batch.pieces.len());
    for span in &batch.spans {
        let mut piece_at = staging + span.at as u64;
        for piece in &batch.pieces[span.pieces.clone()] {
            for run in &piece.runs {
                let out = match run.place {
                    Place::Direct(out) => output + out,
                    Place::Scratch(bytes) => {
                        scratch += bytes;
                        scratch - bytes
                    }
                };
                requests.push(Request {
                    tensor: piece.part.tensor.number(),
                    blocks: run.blocks.clone(),
                    payload: piece_at + run.at as u64,
                    out,
                    base,
                });
                base += run.base_room() as u64;
            }
            piece_at += piece.bytes as u64;
        }
    }
    requests
}

/// The copies of what is wanted from scratch memory to the output.
pub(super) fn copies(batch: &Batch<'_>, mut scratch: u64, output: u64) -> Vec<RectangleTask> {
    let mut tasks = Vec::new();
    for piece in &batch.pieces {
        let part = &piece.part;
        for run in &piece.runs {
            let Place::Scratch(bytes) = run.place else { continue };
            for rectangle in part.rows.rectangles(&part.bytes_of(&run.blocks)) {
                add_tasks(&rectangle, &part.rows, (scratch, output + part.out), &mut tasks);
            }
            scratch += bytes;
        }
    }
    tasks
}
