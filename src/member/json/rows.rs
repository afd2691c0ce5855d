//! Documents become columns, and what does not fit is looked for.
//!
//! A batch that arrow-json refuses is halved until the documents are found that it is about: few bad ones among many cost
//! a few attempts more. A document that is alone is then decoded column by column.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;

use crate::batch::internal;
use crate::error::{Error, ErrorKind, Result};
use crate::member::json::integers::{self, Misfit};
use crate::member::json::{Documents, bad_record, problem_of, rewrite};
use crate::member::{RecordOptions, Records, utf8};
use crate::policy::OnBadRow;

/// Characters of a value that an error quotes.
const QUOTED_CHARS_MAX: usize = 200;

/// Decodes whole documents.
pub(super) struct Rows {
    options: RecordOptions,
    /// The projected columns.
    schema: SchemaRef,
    /// The same, as arrow-json is told: integers are text.
    decoded: SchemaRef,
    /// Kept from batch to batch; an error leaves it unusable.
    decoder: Option<SizedDecoder>,
    /// Objects or lists came for a text column before: expect more.
    nested_as_text: bool,
}

/// arrow-json reserves room for whole batches, which members of one document would pay for: the first batch of a member
/// says how much it takes.
struct SizedDecoder {
    decoder: Decoder,
    documents_max: usize,
}

/// The documents that were good, or mended.
#[derive(Default)]
struct Found {
    batches: Vec<RecordBatch>,
    numbers: Vec<i64>,
}

impl Rows {
    pub(super) fn new(options: &RecordOptions) -> Result<Self> {
        let schema = Arc::new(options.schema.project(&options.projection).map_err(internal)?);
        let decoded = Arc::new(Schema::new(schema.fields().iter().map(integers::as_text).collect::<Vec<_>>()));
        Ok(Self { options: options.clone(), schema, decoded, decoder: None, nested_as_text: false })
    }

    /// # Errors
    /// A column whose type can't be read from JSON.
    pub(super) fn check_types(&self) -> Result<()> {
        for field in self.decoded.fields() {
            let unknown = |cause: ArrowError| {
                let what = format!("column '{}' of type {} can't be read from JSON", field.name(), field.data_type());
                Error::new(ErrorKind::Schema, what).caused_by(cause)
            };
            column_decoder(field, Misfit::Refused).map_err(unknown)?;
        }
        Ok(())
    }

    /// The projected columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends all of `documents`, less those that the policies leave out, to `ready` as one batch.
    ///
    /// # Errors
    /// The first document that does not fit, where the policy says `fail`; those in front of it are appended.
    pub(super) fn decode(&mut self, documents: &Documents, ready: &mut VecDeque<Records>) -> Result<()> {
        let mut found = Found::default();
        let result = if std::str::from_utf8(documents.complete()).is_ok() {
            self.search(documents, documents.range(), &mut found)
        } else {
            let (mended, result) = self.mend_texts(documents);
            self.search(&mended, mended.range(), &mut found).and(result)
        };
        let batch = match found.batches.as_slice() {
            [] => return result,
            [batch] => batch.clone(),
            batches => concat_batches(&self.schema, batches).map_err(internal)?,
        };
        ready.push_back(Records { batch, row_numbers: Int64Array::from(found.numbers) });
        result
    }

    /// The documents as UTF-8, up to the first that is refused.
    fn mend_texts(&self, documents: &Documents) -> (Documents, Result<()>) {
        let mut mended = Documents::default();
        for (at, &number) in documents.numbers.iter().enumerate() {
            let document = documents.document(at);
            match utf8::decode(document, self.options.on_invalid_utf8) {
                Ok(Some(text)) => mended.push(number, text.as_bytes()),
                Ok(None) => mended.push(number, &rewrite::broken_texts_as_null(document)),
                Err(error) => return (mended, Err(bad_record(number, error.message()))),
            }
        }
        (mended, Ok(()))
    }

    fn search(&mut self, documents: &Documents, range: Range<usize>, found: &mut Found) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if let Ok(batch) = self.batch(documents, range.clone()) {
            found.batches.push(batch);
            found.numbers.extend_from_slice(&documents.numbers[range]);
            return Ok(());
        }
        if range.len() > 1 {
            let middle = range.start + range.len() / 2;
            self.search(documents, range.start..middle, found)?;
            return self.search(documents, middle..range.end, found);
        }
        if !self.nested_as_text {
            let document = documents.document(range.start);
            self.nested_as_text = rewrite::nested_as_text(document, self.schema.fields()).is_some();
            if self.nested_as_text {
                return self.search(documents, range, found);
            }
        }
        let number = documents.numbers[range.start];
        if let Some(batch) = self.misfit(documents.document(range.start), number)? {
            found.batches.push(batch);
            found.numbers.push(number);
        }
        Ok(())
    }

    fn batch(&mut self, documents: &Documents, range: Range<usize>) -> Result<RecordBatch, ArrowError> {
        let rows = RecordBatchOptions::new().with_row_count(Some(range.len()));
        if self.schema.fields().is_empty() {
            return RecordBatch::try_new_with_options(Arc::clone(&self.schema), Vec::new(), &rows);
        }
        let fitting = self.decoder.take().filter(|sized| sized.documents_max >= range.len());
        let mut sized = match fitting {
            Some(sized) => sized,
            None => self.sized_decoder(range.len())?,
        };
        for at in range {
            sized.decoder.decode(&self.text(documents.document(at)))?;
        }
        let decoded = sized.decoder.flush()?.ok_or_else(|| ArrowError::JsonError("no document".to_owned()))?;
        self.decoder = Some(sized);
        let columns = decoded.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| integers::from_text(column, field.data_type(), Misfit::Refused));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?, &rows)
    }

    fn sized_decoder(&self, documents_max: usize) -> Result<SizedDecoder, ArrowError> {
        let builder = ReaderBuilder::new(Arc::clone(&self.decoded)).with_batch_size(documents_max);
        Ok(SizedDecoder { decoder: builder.with_coerce_primitive(true).build_decoder()?, documents_max })
    }

    /// What becomes of a document that does not fit.
    fn misfit(&self, document: &[u8], number: i64) -> Result<Option<RecordBatch>> {
        let document = self.text(document);
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        let mut problem = None;
        for (field, decoded) in self.schema.fields().iter().zip(self.decoded.fields()) {
            let strict = column(&document, decoded, field.data_type(), Misfit::Refused);
            columns.push(match (strict, self.options.on_bad_row) {
                (Ok(column), _) => column,
                (Err(cause), OnBadRow::Fail) => return Err(bad_record(number, &misfit_of(field, &cause))),
                (Err(cause), OnBadRow::Skip | OnBadRow::Null) => {
                    if self.options.bad_rows.room() > 0 {
                        problem.get_or_insert_with(|| misfit_of(field, &cause));
                    }
                    column(&document, decoded, field.data_type(), Misfit::Null)
                        .unwrap_or_else(|_| new_null_array(field.data_type(), 1))
                }
            });
        }
        // What is left to be wrong is NULL in a column that can't hold it.
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        match (self.options.on_bad_row, batch) {
            (OnBadRow::Fail, Ok(batch)) => return Ok(Some(batch)),
            (OnBadRow::Fail, Err(cause)) => return Err(bad_record(number, &cause.to_string())),
            (OnBadRow::Null, Ok(batch)) => {
                self.bad_row(number, problem, "a value does not fit");
                return Ok(Some(batch));
            }
            (OnBadRow::Skip, Ok(_)) => self.bad_row(number, problem, "a value does not fit"),
            (OnBadRow::Skip | OnBadRow::Null, Err(cause)) => self.bad_row(number, problem, &cause.to_string()),
        }
        Ok(None)
    }

    /// `problem`, where one is known, says more than `otherwise`.
    fn bad_row(&self, number: i64, problem: Option<String>, otherwise: &str) {
        self.options.bad_rows.add(|| problem_of(number, problem.as_deref().unwrap_or(otherwise)));
    }

    fn text<'a>(&self, document: &'a [u8]) -> Cow<'a, [u8]> {
        let rewritten = self.nested_as_text.then(|| rewrite::nested_as_text(document, self.schema.fields())).flatten();
        rewritten.map_or(Cow::Borrowed(document), Cow::Owned)
    }
}

/// What is wrong with a value, which `cause` may quote at any length.
fn misfit_of(field: &FieldRef, cause: &ArrowError) -> String {
    let cause: String = cause.to_string().chars().take(QUOTED_CHARS_MAX).collect();
    format!("the value of column '{}' is no {}: {cause}", field.name(), field.data_type())
}

fn column_decoder(field: &FieldRef, misfit: Misfit) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(Arc::new(Schema::new([Arc::clone(field)])))
        .with_batch_size(1)
        .with_coerce_primitive(true)
        .with_ignore_type_conflicts(misfit == Misfit::Null)
        .build_decoder()
}

fn column(document: &[u8], decoded: &FieldRef, wanted: &DataType, misfit: Misfit) -> Result<ArrayRef, ArrowError> {
    let mut decoder = column_decoder(decoded, misfit)?;
    decoder.decode(document)?;
    let batch = decoder.flush()?.ok_or_else(|| ArrowError::JsonError("no document".to_owned()))?;
    integers::from_text(batch.column(0), wanted, misfit)
}
