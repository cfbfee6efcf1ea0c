//! Makes a value of any type that can be read, and notes how the type is built.
//!
//! Each number is another, and so long that its type can be told from its bytes. A text is a point
//! in time, which is a text as good as any. A list has one element, and nothing is missing.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
        VariantAccess, Visitor, value::U32Deserializer,
    },
};

const TEXT: &str = "2026-01-02T03:04:05Z";

/// How types are built, by their names: what they consist of, in its order.
#[derive(Default)]
pub(crate) struct Shapes {
    /// The fields of structs and of variants that have some.
    pub(crate) structs: BTreeMap<String, Vec<&'static str>>,
    /// The variants of enums.
    pub(crate) enums: BTreeMap<String, Vec<&'static str>>,
}

/// Makes values; each enum has its variant of this round.
#[derive(Clone)]
struct Sampler {
    round: usize,
    state: Rc<RefCell<State>>,
    /// Whether the next enum is the outermost, of which the caller counts the variants.
    is_outermost: bool,
}

#[derive(Default)]
struct State {
    shapes: Shapes,
    next: u8,
}

/// Makes the value of a round, and notes how its types are built.
pub(crate) fn sample<T: for<'de> Deserialize<'de>>(round: usize, shapes: &mut Shapes) -> T {
    let state = Rc::new(RefCell::new(State::default()));
    let sampler = Sampler {
        round,
        state: Rc::clone(&state),
        is_outermost: true,
    };
    let value = T::deserialize(sampler).unwrap();
    let seen = &mut state.borrow_mut().shapes;
    shapes.structs.append(&mut seen.structs);
    shapes.enums.append(&mut seen.enums);
    value
}

#[derive(Debug)]
pub(crate) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Sampler {
    fn inner(&self) -> Self {
        Self {
            is_outermost: false,
            ..self.clone()
        }
    }

    fn note_struct(&self, name: &str, fields: &[&'static str]) {
        let structs = &mut self.state.borrow_mut().shapes.structs;
        structs.insert(name.to_owned(), fields.to_vec());
    }

    fn note_enum(&self, name: &str, variants: &[&'static str]) {
        let enums = &mut self.state.borrow_mut().shapes.enums;
        enums.insert(name.to_owned(), variants.to_vec());
    }

    /// Returns a byte that the next number does not have.
    fn byte(&self) -> u8 {
        let mut state = self.state.borrow_mut();
        state.next = state.next % 100 + 1;
        state.next
    }

    fn list(&self, length: usize) -> List {
        List {
            sampler: self.inner(),
            left: length,
        }
    }
}

/// Numbers whose highest byte is set, but so that any of them is a good fraction of a second.
macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            let mut bytes = [0; size_of::<$type>()];
            bytes[0] = 1;
            if let Some(last) = bytes.last_mut() {
                *last = self.byte();
            }
            visitor.$visit(<$type>::from_be_bytes(bytes))
        })*
    };
}

impl<'de> Deserializer<'de> for Sampler {
    type Error = Refused;

    numbers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_f32 visit_f32 f32;
        deserialize_f64 visit_f64 f64;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused("the codec does not say what a value is".to_owned()))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_bool(true)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_char('c')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_str(TEXT)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_str(TEXT)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_bytes(&[self.byte(), 0xff])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_byte_buf(vec![self.byte(), 0xff])
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self.inner())
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self.inner())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.list(1))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.list(length))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.list(length))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_map(self.list(1))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.note_struct(name, fields);
        visitor.visit_seq(self.list(fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.note_enum(name, variants);
        let place = self.round % variants.len();
        // Inside, rounds are counted from the variant's first, so that all pairs do not have to be made.
        let round = if self.is_outermost {
            self.round / variants.len()
        } else {
            self.round
        };
        visitor.visit_enum(Variant {
            place: u32::try_from(place).unwrap_or(0),
            name: variants[place],
            of: name,
            sampler: Self {
                round,
                ..self.inner()
            },
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused("the codec knows no identifiers".to_owned()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }
}

struct List {
    sampler: Sampler,
    left: usize,
}

impl<'de> SeqAccess<'de> for List {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.sampler.clone()).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for List {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        seed.deserialize(self.sampler.clone())
    }
}

struct Variant {
    place: u32,
    name: &'static str,
    of: &'static str,
    sampler: Sampler,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refused> {
        let place: U32Deserializer<Refused> = self.place.into_deserializer();
        Ok((seed.deserialize(place)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(self.sampler)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.sampler.list(length))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let name = format!("{}::{}", self.of, self.name);
        self.sampler.note_struct(&name, fields);
        visitor.visit_seq(self.sampler.list(fields.len()))
    }
}
