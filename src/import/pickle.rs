//! Python's pickles read as data: nothing that a pickle names is looked up, imported or called.
//!
//! A pickle is a program for a small stack machine. Here its calls only leave a note of what would have been called
//! with what ([`Value::Object`]); who reads the values decides which notes mean something.

use std::collections::HashMap;

use super::bytes::Bytes;
use super::problem::{Parsed, Problem};

/// Values refer to others by their place in [`Pickle::values`], so that nothing is ever copied or nested.
pub type Id = usize;

/// What an operation of the machine makes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `True` and `False`.
    Bool(bool),
    /// Of up to 16 bytes.
    Int(i128),
    /// Text.
    Text(String),
    /// A tuple or a list.
    Sequence(Vec<Id>),
    /// Keys and values, in order.
    Dict(Vec<(Id, Id)>),
    /// A function or class by its full name.
    Global(String),
    /// What a call would have given.
    Object {
        /// The function or class, a [`Value::Global`].
        class: Id,
        /// The arguments, a tuple.
        arguments: Id,
        /// What was put into it like into a dictionary.
        items: Vec<(Id, Id)>,
    },
    /// What lies outside the pickle, by its key.
    Persistent(Id),
    /// `None`, floats, bytes, sets: of no use here.
    Other,
}

/// The values of one pickle.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
}

/// Longest name of a function or class, with its module.
const LONGEST_NAME: usize = 128;
/// More operations than any list of weights needs (25 a tensor); they bound the memory.
const MOST_OPERATIONS: usize = 1 << 22;

impl Pickle {
    /// Reads one pickle from byte `at` on; also where it ends.
    ///
    /// # Errors
    /// The bytes are no pickle of protocol 2 to 5, or one far too large.
    pub fn read(bytes: &[u8], at: usize) -> Parsed<(Self, usize)> {
        let mut machine = Machine {
            code: Bytes::new(bytes, at),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        for _ in 0..MOST_OPERATIONS {
            let at = machine.code.at();
            let ended = machine.step().ok_or_else(|| broken(bytes, at))?;
            if ended {
                let root = machine.pop().ok_or_else(|| broken(bytes, at))?;
                return Ok((Self { values: machine.values, root }, machine.code.at()));
            }
        }
        Err(Problem::damaged(EXPECTED, "a pickle of millions of operations"))
    }

    /// The whole.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value; `Other` where there is none.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Other)
    }

    /// The name of what would have been called to make an object.
    pub fn class(&self, id: Id) -> Option<&str> {
        let Value::Object { class, .. } = self.get(id) else { return None };
        let Value::Global(name) = self.get(*class) else { return None };
        Some(name)
    }

    /// All values, in the order of their making.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

const EXPECTED: &str = "a pickle as torch.save writes it";

fn broken(bytes: &[u8], at: usize) -> Problem {
    let found = bytes.get(at).map_or_else(
        || "its end too early".to_owned(),
        |code| format!("operation 0x{code:02x} where it cannot stand (byte {at})"),
    );
    Problem::damaged(EXPECTED, found)
}

struct Machine<'a> {
    code: Bytes<'a>,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack where collections begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    /// One operation: whether it was the last. `None` where it cannot be done.
    fn step(&mut self) -> Option<bool> {
        match self.code.u8()? {
            b'.' => return Some(true),
            // The protocol; the length of a frame.
            0x80 => drop(self.code.take(1)?),
            0x95 => drop(self.code.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = *self.stack.last()?;
                self.stack.push(top);
            }
            code @ (b'q' | b'r' | 0x94 | b'h' | b'j') => self.memorise(code)?,
            code @ (b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a | b'G') => self.scalar(code)?,
            code @ (b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96) => {
                self.text(code)?;
            }
            code @ (b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'}' | b'd' | 0x8f | 0x91) => {
                self.collection(code)?;
            }
            code @ (b'a' | b'e' | b's' | b'u' | 0x90) => self.fill(code)?,
            code @ (b'c' | 0x93 | b'R' | 0x81 | 0x92 | b'b' | b'Q') => self.object(code)?,
            _ => return None,
        }
        Some(false)
    }

    fn pop(&mut self) -> Option<Id> {
        // Below a mark lies what belongs to an outer collection.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > floor { self.stack.pop() } else { None }
    }

    fn pop_to_mark(&mut self) -> Option<Vec<Id>> {
        let mark = self.marks.pop()?;
        (mark <= self.stack.len()).then(|| self.stack.split_off(mark))
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn memorise(&mut self, code: u8) -> Option<()> {
        let key = match code {
            b'q' | b'h' => u32::from(self.code.u8()?),
            b'r' | b'j' => self.code.u32()?,
            _ => u32::try_from(self.memo.len()).ok()?,
        };
        if matches!(code, b'h' | b'j') {
            self.stack.push(*self.memo.get(&key)?);
        } else {
            self.memo.insert(key, *self.stack.last()?);
        }
        Some(())
    }

    fn scalar(&mut self, code: u8) -> Option<()> {
        let value = match code {
            0x88 | 0x89 => Value::Bool(code == 0x88),
            b'J' => Value::Int(self.code.i32()?.into()),
            b'K' => Value::Int(self.code.u8()?.into()),
            b'M' => Value::Int(self.code.u16()?.into()),
            0x8a => {
                let length = self.code.u8()?;
                integer(self.code.take(length.into())?)
            }
            b'G' => {
                self.code.f64_be()?;
                Value::Other
            }
            _ => Value::Other,
        };
        self.push(value);
        Some(())
    }

    /// Text and bytes, behind their length.
    fn text(&mut self, code: u8) -> Option<()> {
        let length = match code {
            0x8c | b'U' | b'C' => u64::from(self.code.u8()?),
            b'X' | b'T' | b'B' => u64::from(self.code.u32()?),
            _ => self.code.u64()?,
        };
        let bytes = self.code.take(usize::try_from(length).ok()?)?;
        // Strings of Python 2 are bytes; names in them are ASCII.
        let text = matches!(code, b'X' | 0x8c | 0x8d | b'T' | b'U');
        let value = match std::str::from_utf8(bytes) {
            Ok(valid) if text => Value::Text(valid.to_owned()),
            _ => Value::Other,
        };
        self.push(value);
        Some(())
    }

    /// Collections of what is on the stack, or empty ones.
    fn collection(&mut self, code: u8) -> Option<()> {
        let value = match code {
            b'd' => Value::Dict(pairs(&self.pop_to_mark()?)?),
            b'}' => Value::Dict(Vec::new()),
            b't' | b'l' => Value::Sequence(self.pop_to_mark()?),
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..code {
                    items.insert(0, self.pop()?);
                }
                Value::Sequence(items)
            }
            0x8f => Value::Other,
            0x91 => {
                self.pop_to_mark()?;
                Value::Other
            }
            _ => Value::Sequence(Vec::new()),
        };
        self.push(value);
        Some(())
    }

    /// Puts what is on the stack into the collection below.
    fn fill(&mut self, code: u8) -> Option<()> {
        let items = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let target = *self.stack.last()?;
        let target = self.values.get_mut(target)?;
        match (code, target) {
            (b'a' | b'e', Value::Sequence(list)) => list.extend(items),
            (b's' | b'u', Value::Dict(dict) | Value::Object { items: dict, .. }) => {
                dict.extend(pairs(&items)?);
            }
            // Lists and sets of a class of their own: of no use here.
            (b'a' | b'e' | 0x90, Value::Object { .. } | Value::Other) => {}
            _ => return None,
        }
        Some(())
    }

    fn object(&mut self, code: u8) -> Option<()> {
        match code {
            b'c' => {
                let name = |line| std::str::from_utf8(line).ok();
                let (module, name) = (name(self.code.line()?)?, name(self.code.line()?)?);
                let global = global(module, name)?;
                self.push(global);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) =
                    (self.values.get(module)?, self.values.get(name)?)
                else {
                    return None;
                };
                let global = global(module, name)?;
                self.push(global);
            }
            b'b' => {
                // The state of an object (attributes of its own) is dropped; the object stays.
                self.pop()?;
                self.stack.last()?;
            }
            b'Q' => {
                let key = self.pop()?;
                self.push(Value::Persistent(key));
            }
            _ => {
                if code == 0x92 {
                    self.pop()?; // named arguments
                }
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let class = match self.values.get(callee)? {
                    Value::Global(_) => callee,
                    Value::Object { class, .. } => *class,
                    _ => return None,
                };
                self.push(Value::Object { class, arguments, items: Vec::new() });
            }
        }
        Some(())
    }
}

fn global(module: &str, name: &str) -> Option<Value> {
    (module.len() + name.len() < LONGEST_NAME).then(|| Value::Global(format!("{module}.{name}")))
}

/// Keys and values in turn.
fn pairs(items: &[Id]) -> Option<Vec<(Id, Id)>> {
    let pairs = items.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0], pair[1])).collect())
}

/// Two's complement of any length; what 16 bytes cannot hold is of no use here.
fn integer(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut whole = [if negative { 0xFF } else { 0 }; 16];
    match whole.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Value::Other,
    }
    Value::Int(i128::from_le_bytes(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &[u8]) -> Option<Pickle> {
        Pickle::read(code, 0).ok().map(|(pickle, _)| pickle)
    }

    fn root(code: &[u8]) -> Value {
        let pickle = read(code).unwrap();
        pickle.get(pickle.root()).clone()
    }

    #[test]
    fn scalars_of_every_size_are_read() {
        assert_eq!(root(b"K\x07."), Value::Int(7));
        assert_eq!(root(b"M\x00\x01."), Value::Int(256));
        assert_eq!(root(b"J\xFE\xFF\xFF\xFF."), Value::Int(-2));
        assert_eq!(root(b"\x8a\x00."), Value::Int(0));
        assert_eq!(root(b"\x8a\x02\x00\x80."), Value::Int(-32768));
        assert_eq!(root(b"\x8c\x02ab."), Value::Text("ab".into()));
        let long = [&[0x8a, 17][..], &[1; 17], b"."].concat();
        assert_eq!(root(&long), Value::Other);
    }

    #[test]
    fn a_call_is_noted_and_not_made() {
        // os.system("x"), as a malicious pickle has it.
        let pickle = read(b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85R.").unwrap();
        assert_eq!(pickle.class(pickle.root()), Some("os.system"));
    }

    #[test]
    fn what_contradicts_the_stack_is_refused() {
        for code in [
            &b"."[..],
            b"",
            b"K",
            b"K\x01",
            b"t.",
            b"(K\x01\x85.", // a tuple of one is fine ..
            b"K\x01(\x85.", // .. but not one across a mark
            b"h\x00.",
            b"X\xFF\xFF\xFF\x7Fabc.",
            b"\x8d\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFabc.",
            b"}K\x01K\x02K\x03u.",
            b"}(K\x01u.",
            b"K\x01K\x02R.",
            b"i__main__\nA\n.",
            b"\x82\x01.",
        ] {
            let fine = code == b"(K\x01\x85.";
            assert_eq!(read(code).is_some(), fine, "{code:?}");
        }
    }

    #[test]
    fn millions_of_operations_are_refused() {
        let endless = vec![b']'; MOST_OPERATIONS + 1];
        assert!(read(&endless).is_none());
    }

    #[test]
    fn a_memo_refers_to_one_value_however_often_it_is_used() {
        // Nested doubling: 2^30 elements if they were copied.
        let mut code = b"]".to_vec();
        for _ in 0..30 {
            code.extend(b"2\x86"); // (x, x)
        }
        code.push(b'.');
        let pickle = read(&code).unwrap();
        assert_eq!(pickle.values().len(), 31);
    }
}
