//! Checkpoints of `torch.save`: zip archives, and the older files of several pickles (before PyTorch 1.6).
//!
//! A checkpoint is a pickle of a dictionary of tensors, or of a dictionary that holds one beside other things (epoch,
//! optimizer). Tensors are views of storages, which lie outside the pickle.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::tensor::TensorData;

use super::bytes::Bytes;
use super::element::Element;
use super::pickle::{Id, Pickle, Value};
use super::problem::{Parsed, Problem, shown};
use super::zip::Archive;

/// Tensors by name, and what was in their place or beside them and is not understood.
pub type Found = (BTreeMap<String, TensorData>, BTreeSet<String>);

/// Where programs put the weights among other things; the first that is there counts.
const WRAPPERS: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network",
    "net",
    "weights",
    "params",
    "module",
];
/// Wrappers in wrappers.
const DEEPEST: usize = 4;
/// First number of a file of several pickles.
const LEGACY_MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const EXPECTED: &str = "a dictionary of tensors (a state_dict), or one that holds it";
const SAVE_STATE: &str = "save model.state_dict() with torch.save";

/// Reads a zip archive.
///
/// # Errors
/// It is damaged, or holds something else than weights.
pub fn read_zip(bytes: &[u8]) -> Parsed<Found> {
    let archive = Archive::open(bytes)?;
    let pickles: Vec<&str> = archive
        .names()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|folder| folder.is_empty() || folder.ends_with('/'))
        .collect();
    let [folder] = pickles[..] else {
        return Err(Problem::new("a checkpoint of torch.save", "another zip archive", SAVE_STATE));
    };
    if archive.names().any(|name| name == format!("{folder}constants.pkl")) {
        return Err(Problem::new(EXPECTED, "a TorchScript program", SAVE_STATE));
    }
    let order = format!("{folder}byteorder");
    if archive.names().any(|name| name == order) && archive.read(&order)? != b"little" {
        return Err(Problem::new(
            "little-endian numbers",
            "another byte order",
            "save it on another machine",
        ));
    }
    let (pickle, _) = Pickle::read(archive.read(&format!("{folder}data.pkl"))?, 0)?;
    let storage = |key: &str| archive.read(&format!("{folder}data/{key}"));
    Weights::new(&pickle, &storage, bytes).read()
}

/// Reads a file of several pickles: a magic number, a version, sizes of types, the weights, the keys of the storages;
/// then the storages in that order, each behind its number of elements.
///
/// # Errors
/// It is damaged, or holds something else than weights.
pub fn read_legacy(bytes: &[u8]) -> Parsed<Found> {
    let (magic, end) = Pickle::read(bytes, 0)?;
    if *magic.get(magic.root()) != Value::Int(LEGACY_MAGIC) {
        return Err(Problem::new("a checkpoint of torch.save", "another pickle", SAVE_STATE));
    }
    let (_version, end) = Pickle::read(bytes, end)?;
    let (_sizes, end) = Pickle::read(bytes, end)?;
    let (pickle, end) = Pickle::read(bytes, end)?;
    let (keys, end) = Pickle::read(bytes, end)?;
    let elements: HashMap<&str, Element> = pickle
        .values()
        .iter()
        .filter_map(|value| {
            let Value::Persistent(id) = value else { return None };
            let (class, key) = storage_of(&pickle, *id)?;
            Some((key, element(class)?))
        })
        .collect();
    let mut storages = HashMap::new();
    let mut data = Bytes::new(bytes, end);
    let Value::Sequence(keys_in_order) = keys.get(keys.root()) else {
        return Err(Problem::damaged("a list of storages", "something else"));
    };
    for key in keys_in_order {
        let Value::Text(key) = keys.get(*key) else {
            return Err(Problem::damaged("a list of storages", "something else"));
        };
        let element = elements.get(key.as_str()).ok_or_else(|| {
            Problem::damaged("storages of known types", format!("`{}` without one", shown(key)))
        })?;
        let count = data.u64().and_then(|count| usize::try_from(count).ok());
        let storage = count
            .and_then(|count| count.checked_mul(element.bytes()))
            .and_then(|length| data.take(length))
            .ok_or_else(|| {
                Problem::damaged(
                    format!("the whole storage `{}`", shown(key)),
                    "the end of the file",
                )
            })?;
        storages.insert(key.as_str(), storage);
    }
    let storage = |key: &str| {
        storages.get(key).copied().ok_or_else(|| {
            Problem::damaged(format!("a storage `{}`", shown(key)), "no such storage")
        })
    };
    Weights::new(&pickle, &storage, bytes).read()
}

/// Type and key of a storage by its persistent id: `("storage", type, key, location, elements)`. The location (a GPU,
/// say) does not matter.
fn storage_of(pickle: &Pickle, id: Id) -> Option<(&str, &str)> {
    let Value::Sequence(parts) = pickle.get(id) else { return None };
    let (kind, class, key) = (*parts.first()?, *parts.get(1)?, *parts.get(2)?);
    match (pickle.get(kind), pickle.get(class), pickle.get(key)) {
        (Value::Text(kind), Value::Global(class), Value::Text(key)) if kind == "storage" => {
            // Old files may name a part of another storage behind the number of elements.
            let whole = parts.get(5).is_none_or(|part| *pickle.get(*part) == Value::Other);
            whole.then_some((class, key))
        }
        _ => None,
    }
}

/// The type of a storage by its class.
fn element(class: &str) -> Option<Element> {
    let name = class.strip_prefix("torch.")?;
    Some(match name.strip_prefix("cuda.").unwrap_or(name) {
        "DoubleStorage" => Element::F64,
        "FloatStorage" => Element::F32,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::Bf16,
        "LongStorage" => Element::I64,
        "IntStorage" => Element::I32,
        "ShortStorage" => Element::I16,
        "CharStorage" => Element::I8,
        "ByteStorage" => Element::U8,
        "BoolStorage" => Element::Bool,
        _ => return None,
    })
}

struct Weights<'p, 'a, F> {
    pickle: &'p Pickle,
    storage: &'p F,
    /// Storages that were read (and compared with their checksums) already.
    storages: HashMap<&'p str, &'a [u8]>,
    /// Elements that may still be read: views may share a storage, but not blow up a file.
    budget: usize,
}

impl<'p, 'a, F: Fn(&str) -> Parsed<&'a [u8]>> Weights<'p, 'a, F> {
    fn new(pickle: &'p Pickle, storage: &'p F, file: &'a [u8]) -> Self {
        Self { pickle, storage, storages: HashMap::new(), budget: file.len().saturating_mul(2) }
    }

    fn read(mut self) -> Parsed<Found> {
        let state = self.state_dict(self.pickle.root(), DEEPEST)?;
        let mut tensors = BTreeMap::new();
        for (key, value) in state {
            let Value::Text(name) = self.pickle.get(*key) else { continue };
            if let Some(tensor) = self.tensor(name, *value)? {
                tensors.insert(name.clone(), tensor);
            }
        }
        let unknown = (0..self.pickle.values().len())
            .filter_map(|id| self.pickle.class(id))
            .filter(|class| !KNOWN.contains(class))
            .map(shown)
            .collect();
        Ok((tensors, unknown))
    }

    fn items(&self, id: Id) -> Option<&'p [(Id, Id)]> {
        match self.pickle.get(id) {
            Value::Dict(items) => Some(items),
            Value::Object { items, .. } => {
                (self.pickle.class(id) == Some(ORDERED_DICT)).then_some(items)
            }
            _ => None,
        }
    }

    /// The dictionary that holds tensors, or is on the way to one.
    fn state_dict(&self, id: Id, depth: usize) -> Parsed<&'p [(Id, Id)]> {
        let found = |what: String| Problem::new(EXPECTED, what, SAVE_STATE);
        let Some(items) = self.items(id) else {
            let what = match self.pickle.class(id) {
                Some(class) => format!("an object of `{}`", shown(class)),
                None => "another value".to_owned(),
            };
            return Err(found(what));
        };
        let under = |wanted: &str| {
            let wanted = Value::Text(wanted.to_owned());
            let found = items.iter().find(|(key, _)| *self.pickle.get(*key) == wanted);
            found.filter(|(_, value)| self.items(*value).is_some())
        };
        // Before the tensors: the best accuracy beside the weights may be one.
        if let Some((_, value)) = WRAPPERS.into_iter().find_map(under)
            && depth > 0
        {
            return self.state_dict(*value, depth - 1);
        }
        let is_tensor = |(_, value): &(Id, Id)| {
            self.pickle.class(*value).is_some_and(|class| {
                class == PARAMETER || class == PARAMETER_STATE || TENSORS.contains(&class)
            })
        };
        if items.iter().any(is_tensor) {
            return Ok(items);
        }
        let keys = items.iter().filter_map(|(key, _)| match self.pickle.get(*key) {
            Value::Text(key) => Some(shown(key)),
            _ => None,
        });
        let keys: Vec<String> = keys.take(10).collect();
        Err(found(format!("no tensors, only: {}", keys.join(", "))))
    }

    /// The tensor that is an entry of the weights; `None` where it is a plain value.
    fn tensor(&mut self, name: &str, id: Id) -> Parsed<Option<TensorData>> {
        let refused = |found: String| {
            Problem::new(format!("`{}` to be a tensor", shown(name)), found, SAVE_STATE)
        };
        let Some(class) = self.pickle.class(id) else { return Ok(None) };
        let arguments = |id: Id| match self.pickle.get(id) {
            Value::Object { arguments, .. } => self.sequence(*arguments),
            _ => &[],
        };
        let mut id = id;
        let mut class = class;
        if class == PARAMETER || class == PARAMETER_STATE {
            id = *arguments(id).first().ok_or_else(|| refused("nothing".into()))?;
            class = self.pickle.class(id).unwrap_or("another value");
        }
        if class == ORDERED_DICT {
            return Ok(None);
        }
        if !TENSORS.contains(&class) {
            return Err(refused(format!("an object of `{}`", shown(class))));
        }
        let damaged =
            || Problem::damaged(format!("`{}` to be a whole tensor", shown(name)), "another value");
        let &[storage, offset, shape, strides, ..] = arguments(id) else { return Err(damaged()) };
        let Value::Persistent(storage) = self.pickle.get(storage) else { return Err(damaged()) };
        let (class, key) = storage_of(self.pickle, *storage).ok_or_else(damaged)?;
        let element = element(class)
            .ok_or_else(|| refused(format!("numbers of the type `{}`", shown(class))))?;
        let offset = self.size(offset).ok_or_else(damaged)?;
        let (shape, strides) = self.sizes(shape).zip(self.sizes(strides)).ok_or_else(damaged)?;
        let data = match self.storages.get(key) {
            Some(data) => *data,
            None => (self.storage)(key)?,
        };
        self.storages.insert(key, data);
        let view = View { shape: &shape, strides: &strides, offset };
        let beyond = || {
            Problem::damaged(
                format!("the {shape:?} numbers of `{}`", shown(name)),
                format!("a storage of {} bytes", data.len()),
            )
        };
        let count = view.count_within(data.len() / element.bytes()).ok_or_else(beyond)?;
        self.budget = self.budget.checked_sub(count).ok_or_else(|| {
            Problem::damaged("tensors that the file can hold", "more numbers than it has bytes")
        })?;
        let values = view.gather(element, data).ok_or_else(beyond)?;
        Ok(Some(TensorData::new(values, shape)))
    }

    fn sequence(&self, id: Id) -> &[Id] {
        match self.pickle.get(id) {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.pickle.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A tuple of sizes, or a `torch.Size` of one.
    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let items = match self.pickle.get(id) {
            Value::Sequence(items) => items,
            Value::Object { arguments, .. } if self.pickle.class(id) == Some("torch.Size") => {
                self.sequence(*self.sequence(*arguments).first()?)
            }
            _ => return None,
        };
        (items.len() <= MOST_DIMENSIONS).then_some(())?;
        items.iter().map(|item| self.size(*item)).collect()
    }
}

const ORDERED_DICT: &str = "collections.OrderedDict";
const PARAMETER: &str = "torch._utils._rebuild_parameter";
const PARAMETER_STATE: &str = "torch._utils._rebuild_parameter_with_state";
const TENSORS: [&str; 2] = ["torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"];
/// What may be called in weights.
const KNOWN: [&str; 7] = [
    ORDERED_DICT,
    PARAMETER,
    PARAMETER_STATE,
    TENSORS[0],
    TENSORS[1],
    "torch.Size",
    "torch.device",
];
const MOST_DIMENSIONS: usize = 8;

/// Which elements of a storage a tensor is: `offset + sum of index * stride`.
struct View<'a> {
    shape: &'a [usize],
    strides: &'a [usize],
    offset: usize,
}

impl View<'_> {
    /// Number of elements, if all lie within a storage of `elements` and are not more than those: a view that repeats
    /// elements could claim any size.
    fn count_within(&self, elements: usize) -> Option<usize> {
        (self.shape.len() == self.strides.len()).then_some(())?;
        let count = self.shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size))?;
        if count == 0 {
            return Some(0);
        }
        let mut last = self.offset;
        for (size, stride) in self.shape.iter().zip(self.strides) {
            last = last.checked_add((size - 1).checked_mul(*stride)?)?;
        }
        (last < elements && count <= elements).then_some(count)
    }

    /// The elements in C order.
    fn gather(&self, element: Element, data: &[u8]) -> Option<Vec<f32>> {
        let count: usize = self.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut at = self.offset;
        for _ in 0..count {
            values.push(element.value(data, at)?);
            for axis in (0..index.len()).rev() {
                if index[axis] + 1 < self.shape[axis] {
                    index[axis] += 1;
                    at += self.strides[axis];
                    break;
                }
                at -= self.strides[axis] * index[axis];
                index[axis] = 0;
            }
        }
        Some(values)
    }
}
