//! Weights as `torch.save` writes them: a zip archive of a pickle, which names the tensors, and of their numbers.
//!
//! The pickle holds what `torch.load(weights_only=True)` allows: an ordered dictionary of tensors, each a view of a storage
//! of its own.

use burn::tensor::TensorData;

use super::zip;

/// Folder of all entries; any will do.
const FOLDER: &str = "archive";

/// The bytes of a file; `None` where a zip archive of 32 bits does not hold them.
pub fn encode(tensors: &[(String, TensorData)]) -> Option<Vec<u8>> {
    let tensors: Vec<_> =
        tensors.iter().map(|(name, data)| (name, data.clone().convert::<f32>())).collect();
    let mut pickle = Pickle::begin();
    for (key, (name, data)) in tensors.iter().enumerate() {
        pickle.tensor(name, key, &data.shape.to_vec());
    }
    let entry = |name: &str, bytes: Vec<u8>| (format!("{FOLDER}/{name}"), bytes);
    let mut entries = vec![
        entry("data.pkl", pickle.end()),
        entry("byteorder", b"little".to_vec()),
        entry("version", b"3\n".to_vec()),
    ];
    let storages = tensors.iter().enumerate();
    entries.extend(
        storages.map(|(key, (_, data))| entry(&format!("data/{key}"), data.as_bytes().to_vec())),
    );
    zip::archive(&entries)
}

/// Operations of the stack machine of pickles, protocol 2.
mod code {
    pub const PROTOCOL: &[u8] = &[0x80, 2];
    pub const GLOBAL: u8 = b'c';
    pub const MARK: u8 = b'(';
    pub const TUPLE: u8 = b't';
    pub const EMPTY_TUPLE: u8 = b')';
    pub const CALL: u8 = b'R';
    pub const PERSISTENT: u8 = b'Q';
    pub const TEXT: u8 = b'X';
    pub const INT: u8 = b'J';
    pub const FALSE: u8 = 0x89;
    pub const SET_ITEMS: u8 = b'u';
    pub const STOP: u8 = b'.';
}

/// The pickle of a dictionary, entry by entry.
struct Pickle(Vec<u8>);

impl Pickle {
    fn begin() -> Self {
        let mut pickle = Self(code::PROTOCOL.to_vec());
        pickle.empty_dict();
        pickle.0.push(code::MARK);
        pickle
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([code::SET_ITEMS, code::STOP]);
        self.0
    }

    /// A name, and a call that makes its tensor: storage, offset, shape, strides, whether it learns, hooks.
    fn tensor(&mut self, name: &str, key: usize, shape: &[usize]) {
        self.text(name);
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.push(code::MARK);
        self.storage(key, shape.iter().product());
        self.int(0);
        self.tuple(shape);
        let strides: Vec<usize> =
            (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        self.tuple(&strides);
        self.0.push(code::FALSE);
        self.empty_dict();
        self.0.extend([code::TUPLE, code::CALL]);
    }

    /// What lies outside the pickle, by its key.
    fn storage(&mut self, key: usize, elements: usize) {
        self.0.push(code::MARK);
        self.text("storage");
        self.global("torch", "FloatStorage");
        self.text(&key.to_string());
        self.text("cpu");
        self.int(elements);
        self.0.extend([code::TUPLE, code::PERSISTENT]);
    }

    fn empty_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([code::EMPTY_TUPLE, code::CALL]);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(code::GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.push(code::TEXT);
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    /// 31 bits: a storage of more numbers does not fit the archive, either.
    fn int(&mut self, value: usize) {
        self.0.push(code::INT);
        self.0.extend((value as i32).to_le_bytes());
    }

    fn tuple(&mut self, values: &[usize]) {
        self.0.push(code::MARK);
        for value in values {
            self.int(*value);
        }
        self.0.push(code::TUPLE);
    }
}
