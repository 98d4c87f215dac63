//! What must hold of an index before anything is decoded with it: every number within bounds, so
//! that the decoders can take them as they are.

use std::path::Path;

use codec::block::{BlockSpec, PlaneCoding};
use codec::constants::{MAX_BLOCK_ELEMENTS, MAX_STATES_PER_LANE, MAX_WIDTH, MIN_BLOCK_ELEMENTS};
use codec::tile::TILE_CLASSES;

use super::blocks::layout_of;
use crate::error::{Result, quoted};
use crate::format::{
    ClassesRecord, Footer, Index, MAX_CLASS_COLUMNS, MAX_CLASS_TABLES, TensorRecord, TilingRecord,
    corrupt, decode_frequencies,
};

/// Checks an index against the file that it came from.
pub(crate) fn validate(index: &Index, footer: &Footer, path: &Path) -> Result<()> {
    let tensor_bytes = index.tensors.iter().try_fold(0u64, |sum, t| sum.checked_add(t.bytes));
    let total = tensor_bytes.and_then(|sum| sum.checked_add(index.header.len() as u64));
    if total != Some(index.original_bytes) {
        return Err(corrupt(path, "the index", "header and tensors do not add up to the original"));
    }
    for (number, table) in index.tables.iter().enumerate() {
        decode_frequencies(&table.frequencies)
            .map_err(|detail| corrupt(path, format!("table {number} of the index"), detail))?;
    }
    let mut payload = 0u64;
    for (number, tensor) in index.tensors.iter().enumerate() {
        let checked = match tensor.copy_of {
            Some(original) => check_copy(tensor, index.tensors[..number].get(original as usize)),
            None => check_tensor(tensor, index),
        };
        let end = checked.and_then(|length| {
            let end = payload.checked_add(length).filter(|end| *end <= footer.payload_bytes);
            end.ok_or("its blocks end after the payload")
        });
        payload = end.map_err(|problem| {
            let what = format!("the index entry of tensor {}", quoted(&tensor.name));
            corrupt(path, what, problem)
        })?;
    }
    if payload != footer.payload_bytes {
        return Err(corrupt(path, "the payload", "bytes follow the last tensor's blocks"));
    }
    Ok(())
}

/// A copy has nothing of its own but names, and an original before it.
fn check_copy(copy: &TensorRecord, original: Option<&TensorRecord>) -> Result<u64, &'static str> {
    let Some(original) = original.filter(|original| original.copy_of.is_none()) else {
        return Err("it is a copy of no earlier tensor that has blocks of its own");
    };
    let sizes = |tensor: &TensorRecord| (tensor.bytes, tensor.width, tensor.xxh3);
    if sizes(copy) != sizes(original) {
        return Err("it differs from the tensor that it is a copy of");
    }
    let coding = |tensor: &TensorRecord| (tensor.states_per_lane, tensor.block_elements);
    if coding(copy) != coding(original) {
        return Err("it has other blocks than the tensor that it is a copy of");
    }
    let lists = [
        copy.blocks.len(),
        copy.chunks.len(),
        copy.plans.len(),
        copy.classes.len(),
        copy.tile_modes.len(),
        copy.tile_classes.len(),
    ];
    if lists != [0; 6] {
        return Err("it is a copy and yet has blocks of its own");
    }
    Ok(0)
}

/// The payload bytes of a tensor, or what is wrong with its record.
fn check_tensor(tensor: &TensorRecord, index: &Index) -> Result<u64, &'static str> {
    let layout = layout_of(tensor).ok_or("its elements have an impossible width")?;
    let width = layout.width.bytes() as u64;
    if !tensor.bytes.is_multiple_of(width) {
        return Err("its bytes are not a whole number of elements");
    }
    let block_elements = tensor.block_elements as usize;
    if !block_elements.is_multiple_of(MIN_BLOCK_ELEMENTS)
        || !(MIN_BLOCK_ELEMENTS..=MAX_BLOCK_ELEMENTS).contains(&block_elements)
    {
        return Err("its block size is not one of this format");
    }
    if !(1..=MAX_STATES_PER_LANE).contains(&usize::from(tensor.states_per_lane)) {
        return Err("its number of states is not one of this format");
    }
    let blocks = (tensor.bytes / width).div_ceil(u64::from(tensor.block_elements));
    if blocks != tensor.blocks.len() as u64 {
        return Err("it has another number of blocks than its bytes need");
    }
    for classes in &tensor.classes {
        check_classes(classes, index)?;
    }
    check_tiles(tensor, index, width)?;
    if tensor.needs_base() && index.base.is_none() {
        return Err("a plan needs a base, and the file names none");
    }
    for plan in &tensor.plans {
        let layout =
            plan.coded_layout(layout).ok_or("its coded elements have an impossible width")?;
        let class_count = match plan.tiling {
            TilingRecord::None => tensor.classes.len(),
            TilingRecord::Tiles { .. } => tensor.tile_classes.len(),
        };
        let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
        if plan.planes.len() != layout.width.bytes() {
            return Err("a plan has another number of planes than an element has bytes");
        }
        for (plane, record) in planes.iter_mut().zip(&plan.planes) {
            *plane = record.coding();
            if record.classes().is_some_and(|at| at as usize >= class_count) {
                return Err("a plan names classes that are not there");
            }
            let Some(id) = record.table() else { continue };
            let table =
                index.tables.get(id as usize).ok_or("a plan names a table that is not there")?;
            if table.ranks.is_some() != (*plane == PlaneCoding::Pairs) {
                return Err("a plan names a table of another kind");
            }
        }
        if !(BlockSpec { layout, elements: 0, states_per_lane: 1, planes }).is_valid() {
            return Err("a plan has a coding that its plane cannot have");
        }
    }
    if tensor.blocks.iter().any(|block| usize::from(block.plan) >= tensor.plans.len()) {
        return Err("a block names a plan that is not there");
    }
    check_chunks(tensor)
}

/// Every class has a table, and that exists.
fn check_classes(classes: &ClassesRecord, index: &Index) -> Result<(), &'static str> {
    let columns = usize::from(classes.column_class_count);
    if !(1..=MAX_CLASS_COLUMNS).contains(&classes.columns) || columns == 0 {
        return Err("its classes are of impossible rows or columns");
    }
    if classes.choice.is_empty() || !classes.choice.len().is_multiple_of(columns) {
        return Err("its classes have another number of tables than pairs");
    }
    let rows = classes.choice.len() / columns;
    if classes.row_classes.iter().any(|&class| usize::from(class) >= rows)
        || classes.column_classes.iter().any(|&class| usize::from(class) >= columns)
    {
        return Err("a row or column is of a class that is not there");
    }
    if classes.tables.len() > MAX_CLASS_TABLES
        || classes.choice.iter().any(|&choice| usize::from(choice) >= classes.tables.len())
    {
        return Err("its classes name a table that they do not have");
    }
    check_class_tables(&classes.tables, index)
}

fn check_class_tables(tables: &[u32], index: &Index) -> Result<(), &'static str> {
    for &id in tables {
        match index.tables.get(id as usize) {
            Some(table) if table.ranks.is_none() => {}
            Some(_) => return Err("its classes name a table of another kind"),
            None => return Err("its classes name a table that is not there"),
        }
    }
    Ok(())
}

/// All plans have the same tiling, and the modes are those of its blocks.
fn check_tiles(tensor: &TensorRecord, index: &Index, width: u64) -> Result<(), &'static str> {
    for classes in &tensor.tile_classes {
        let tables = classes.tables.len();
        if classes.choice.len() != TILE_CLASSES
            || tables > MAX_CLASS_TABLES
            || classes.choice.iter().any(|&choice| usize::from(choice) >= tables)
        {
            return Err("its classes of tiles have other tables than they need");
        }
        check_class_tables(&classes.tables, index)?;
    }
    let Some(plan) = tensor.plans.first() else {
        return if tensor.tile_modes.is_empty() { Ok(()) } else { Err("it has modes of no tiles") };
    };
    if tensor.plans.iter().any(|other| other.tiling != plan.tiling) {
        return Err("its plans have different tiles");
    }
    let mut modes = 0;
    let elements = tensor.bytes / width;
    for number in 0..tensor.blocks.len() {
        let first = number as u64 * u64::from(tensor.block_elements);
        let count = u64::from(tensor.block_elements).min(elements - first) as usize;
        let block = tensor
            .tiled_block(number, count, plan)
            .map_err(|_| "its tile modes do not fit its blocks")?;
        modes += block.map_or(0, |block| block.grid().sub_blocks() as usize);
    }
    if modes != tensor.tile_modes.len() {
        return Err("it has another number of tile modes than its blocks need");
    }
    Ok(())
}

/// Chunks cover the blocks one after the other, without rest.
fn check_chunks(tensor: &TensorRecord) -> Result<u64, &'static str> {
    let mut blocks = tensor.blocks.iter();
    let mut length = 0u64;
    for chunk in &tensor.chunks {
        let mut bytes = 0u64;
        if chunk.blocks == 0 {
            return Err("a chunk has no blocks");
        }
        for _ in 0..chunk.blocks {
            let block = blocks.next().ok_or("its chunks have more blocks than it has")?;
            // At most 2^32 blocks of 2^32 bytes.
            bytes = bytes.checked_add(u64::from(block.bytes)).ok_or("a chunk is too long")?;
        }
        length = length.checked_add(bytes).ok_or("its chunks are too long")?;
    }
    match blocks.next() {
        Some(_) => Err("its chunks have fewer blocks than it has"),
        None => Ok(length),
    }
}
