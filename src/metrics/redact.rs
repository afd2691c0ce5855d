//! Secrets are taken out of SQL and of error messages before they are written anywhere.
//!
//! What a newcomer must know: this reads neither SQL nor URLs properly, on purpose. Error messages quote pieces of both,
//! with stray apostrophes, so it looks for *names* of secrets, wherever they are, and takes out what follows. A value too
//! many that is lost is the price, and a low one.

/// What stands in for a secret.
const MASK: &str = "***";

/// Parts of names, in lower case and without separators, whose values are secret.
const SECRET_PARTS: [&str; 14] = [
    "secret",
    "token",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "accesskey",
    "accountkey",
    "privatekey",
    "apikey",
    "signature",
    "authorization",
    "bearer",
    "masterkey",
];

/// Settings of stores: behind these prefixes everything with `key` in it is secret.
const STORE_PREFIXES: [&str; 6] = ["aws.", "gcp.", "azure.", "aws_", "google_", "azure_"];

/// Query parameters that are secret, though the names are too common to be so elsewhere.
const SECRET_PARAMETERS: [&str; 16] = [
    "sig",
    "key",
    "code",
    "sign",
    "auth",
    "jwt",
    "ticket",
    "session",
    "sessionid",
    "sid",
    "pwd",
    "pass",
    "policy",
    "hmac",
    "hdnts",
    "hdnea",
];

/// In these URLs a container stands before the `@`, and no user.
const CONTAINER_SCHEMES: [&str; 4] = ["abfs", "abfss", "wasb", "wasbs"];

/// How far a comment between a name and its value is looked through. It bounds the work for text that is all comments.
const COMMENT_LEN_MAX: usize = 1024;

/// The text with `***` for each secret: values of options and parameters whose names say that they are secret, users
/// and passwords in URLs, signatures of signed URLs.
///
/// ```
/// use tarsql::metrics::redact;
///
/// assert_eq!(redact("OPTIONS ('aws.secret_access_key' 'abc')"), "OPTIONS ('aws.secret_access_key' '***')");
/// assert_eq!(redact("read_tar('https://u:p@h/x.tar?sig=abc')"), "read_tar('https://***@h/x.tar?sig=***')");
/// ```
pub fn redact(text: &str) -> String {
    redact_named(&redact_userinfo(text))
}

/// A URL that still tells archives apart: only user and password, and what signs it in its query, are taken out. Unlike
/// [`redact`] it leaves keys alone, in which `token=7/` may be a partition.
pub(crate) fn redact_url(url: &str) -> String {
    let is_http = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
    match url.find('?') {
        Some(at) if is_http => redact_userinfo(&url[..at]) + &redact_named(&url[at..]),
        _ => redact_userinfo(url),
    }
}

/// Takes user and password out of every `scheme://user:password@host`.
fn redact_userinfo(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        redacted.push_str(before);
        let scheme_from = before[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        // The character found may be longer than a byte; then there is no scheme.
        let scheme = before.get(scheme_from..at).unwrap_or_default().to_ascii_lowercase();
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '\'' | '"' | '<' | '>' | '`');
        let authority = &behind[..behind.find(ends).unwrap_or(behind.len())];
        rest = behind;
        if let Some(user) = user_of(authority).or_else(|| unescaped_user_of(behind, authority))
            && (user.contains(':') || !CONTAINER_SCHEMES.contains(&scheme.as_str()))
        {
            redacted.push_str(MASK);
            rest = &behind[user.len()..];
        }
    }
    redacted + rest
}

fn user_of(authority: &str) -> Option<&str> {
    authority.rsplit_once('@').map(|(user, _)| user)
}

/// User and password where the password has a `/`, `?` or `#` that somebody forgot to escape: what stands behind the colon
/// is no port then, and there is an `@` further on.
fn unescaped_user_of<'a>(behind: &'a str, authority: &str) -> Option<&'a str> {
    let (_, port) = authority.rsplit_once(':')?;
    if port.is_empty() || port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ends = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '<' | '>' | '`');
    user_of(&behind[..behind.find(ends).unwrap_or(behind.len())])
}

/// Takes out what follows the name of a secret.
fn redact_named(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(from) = text[at..].find(is_name_char).map(|offset| at + offset) {
        let to = text[from..].find(|c| !is_name_char(c)).map_or(text.len(), |offset| from + offset);
        redacted.push_str(&text[at..to]);
        at = to;
        if let Some(name) = Name::read(text, from, to)
            && let Some(value) = name.value(text)
        {
            redacted.push_str(&text[to..value.start]);
            redacted.push_str(MASK);
            at = value.end;
        }
    }
    redacted.push_str(&text[at..]);
    redacted
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The name of a secret, at its place in a text.
struct Name {
    to: usize,
    is_dotted: bool,
    /// What stands before it.
    before: Option<u8>,
}

impl Name {
    /// None if that is not the name of a secret.
    fn read(text: &str, from: usize, to: usize) -> Option<Self> {
        let name = text[from..to].to_ascii_lowercase();
        let before = from.checked_sub(1).map(|at| text.as_bytes()[at]);
        let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let is_secret = SECRET_PARTS.iter().any(|part| bare.contains(part))
            || name.split(['.', '_', '-']).any(|segment| segment == "sas")
            || (name.contains("key") && STORE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
            || (matches!(before, Some(b'?' | b'&')) && SECRET_PARAMETERS.contains(&name.as_str()));
        // A switch: its value is true or false, and messages name it as a remedy.
        let is_switch = bare.ends_with("skipsignature");
        (is_secret && !is_switch).then(|| Self { to, is_dotted: name.contains('.'), before })
    }

    /// Where its value is, without quotes; none if what follows is no value.
    fn value(&self, text: &str) -> Option<std::ops::Range<usize>> {
        let mut cursor = Cursor { text, at: self.to };
        if self.before == Some(b'<') && cursor.take(">") {
            return Some(cursor.until(|c| c == '<'));
        }
        // The quote that closes the name. The escaped ones are those of JSON within JSON.
        let is_quoted = ["'", "\"", "`", "\\\""].iter().any(|quote| cursor.take(quote));
        let blank = cursor.skip_blank();
        let is_assigned = cursor.take_assignment(self.is_dotted || is_quoted);
        if is_assigned {
            cursor.skip_blank();
            return cursor.quoted().or_else(|| cursor.unquoted());
        }
        // `'name' 'value'`: only a quoted value can't be a keyword or a column.
        if blank || is_quoted { cursor.quoted() } else { None }
    }
}

/// Reads on from the end of a name.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Skips white space and comments; says whether there were any.
    fn skip_blank(&mut self) -> bool {
        let from = self.at;
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            let rest = self.rest().as_bytes();
            let near = &rest[..rest.len().min(COMMENT_LEN_MAX)];
            let end = match near {
                [b'-', b'-', ..] => near.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
                [b'/', b'*', ..] => near.windows(2).skip(2).position(|pair| pair == b"*/").map(|at| at + 4),
                _ => None,
            };
            match end {
                Some(length) => self.at += length,
                None => return self.at > from,
            }
        }
    }

    /// Takes `=`, `=>`, `:=`, `:` or (as in `SET name TO value`) `TO`.
    fn take_assignment(&mut self, may_be_to: bool) -> bool {
        // A cast, or the separator of locators.
        if self.rest().starts_with("::") {
            return false;
        }
        if ["=>", "==", "=", ":=", ":"].iter().any(|sign| self.take(sign)) {
            return true;
        }
        let is_to = may_be_to
            && self.rest().get(..2).is_some_and(|word| word.eq_ignore_ascii_case("to"))
            && self.rest()[2..].starts_with(|c: char| c.is_whitespace() || c == '\'');
        self.at += if is_to { 2 } else { 0 };
        is_to
    }

    /// What is between quotes: `'…'` with `''` in it, `"…"`, `$tag$…$tag$`. Without an end it goes to the last byte.
    fn quoted(&mut self) -> Option<std::ops::Range<usize>> {
        // E'…', N'…', r'…'
        let prefixed = self.rest().as_bytes();
        let mut has_escapes = prefixed.first() == Some(&b'"');
        if let [prefix @ (b'e' | b'E' | b'n' | b'N' | b'r' | b'R'), b'\'', ..] = prefixed {
            has_escapes = prefix.eq_ignore_ascii_case(&b'e');
            self.at += 1;
        }
        if let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"' | '`')) {
            self.at += 1;
            return Some(self.until_quote(quote, has_escapes));
        }
        if self.take("\\\"") {
            let from = self.at;
            return Some(from..self.rest().find("\\\"").map_or(self.text.len(), |length| from + length));
        }
        let tag_len = self.rest().strip_prefix('$')?.find('$')? + 2;
        let (tag, behind) = self.rest().split_at(tag_len);
        let is_tag = tag[1..tag_len - 1].chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let from = self.at + tag_len;
        is_tag.then(|| from..behind.find(tag).map_or(self.text.len(), |length| from + length))
    }

    fn until_quote(&self, quote: char, has_escapes: bool) -> std::ops::Range<usize> {
        let from = self.at;
        let mut chars = self.rest().char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            match c {
                '\\' if has_escapes => {
                    chars.next();
                }
                _ if c != quote => {}
                _ if chars.next_if(|(_, next)| *next == quote).is_some() => {}
                _ => return from..from + offset,
            }
        }
        from..self.text.len()
    }

    fn unquoted(&mut self) -> Option<std::ops::Range<usize>> {
        // `Authorization: Bearer …`
        for scheme in ["Bearer ", "Basic ", "SharedKey "] {
            if self.rest().get(..scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme)) {
                self.at += scheme.len();
            }
        }
        let value =
            self.until(|c| c.is_whitespace() || matches!(c, ',' | ';' | ')' | '}' | '&' | '<' | '\'' | '"' | '`'));
        (!value.is_empty()).then_some(value)
    }

    fn until(&self, ends: impl Fn(char) -> bool) -> std::ops::Range<usize> {
        self.at..self.rest().find(ends).map_or(self.text.len(), |length| self.at + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out() {
        let cases = [
            ("OPTIONS ('aws.secret_access_key' 'S3CR')", "OPTIONS ('aws.secret_access_key' '***')"),
            (
                "OPTIONS (aws.secret_access_key 'S3CR', format 'csv')",
                "OPTIONS (aws.secret_access_key '***', format 'csv')",
            ),
            ("f('x', aws.access_key_id = 'S3CR')", "f('x', aws.access_key_id = '***')"),
            ("f(aws.session_token=>'S3''CR', b => 'c')", "f(aws.session_token=>'***', b => 'c')"),
            ("aws.skip_signature = true, aws.token = 'S3CR'", "aws.skip_signature = true, aws.token = '***'"),
            ("SET tarsql.token = S3CR;", "SET tarsql.token = ***;"),
            ("SET azure.storage_account_key TO 'S3CR'", "SET azure.storage_account_key TO '***'"),
            ("('azure.sas_key' $$S3'CR$$)", "('azure.sas_key' $$***$$)"),
            ("('azure.sas' = $t$S3$$CR$t$ )", "('azure.sas' = $t$***$t$ )"),
            ("'aws.sse_customer_key_base64' /* x */ E'S3CR'", "'aws.sse_customer_key_base64' /* x */ E'***'"),
            ("'password' = e'S3\\'CR' x", "'password' = e'***' x"),
            ("'password' -- it's\n 'S3CR'", "'password' -- it's\n '***'"),
            ("MAP {'api_key': 'S3CR'}", "MAP {'api_key': '***'}"),
            ("'GCP.Service_Account_Key' '{\"private_key\": \"S3CR\"}'", "'GCP.Service_Account_Key' '***'"),
            ("\"db.password\" = \"S3CR\"", "\"db.password\" = \"***\""),
            ("OPTIONS ('aws.secret_access_key' 'S3CR", "OPTIONS ('aws.secret_access_key' '***"),
            ("'aws.secret_access_key''S3CR'", "'aws.secret_access_key''***'"),
            ("https://user:S3CR@h:80/x", "https://***@h:80/x"),
            ("https://S3CR@h/x and s3://b/k", "https://***@h/x and s3://b/k"),
            ("https://u:a@S3CR@h", "https://***@h"),
            ("https://u:a/S3CR#@h/x and s3://b/k", "https://***@h/x and s3://b/k"),
            ("https://h:80/S3/a@b and https://[::1]/S3/a@b", "https://h:80/S3/a@b and https://[::1]/S3/a@b"),
            ("abfss://box@acc.dfs/x", "abfss://box@acc.dfs/x"),
            ("abfss://u:S3CR@acc.dfs/x", "abfss://***@acc.dfs/x"),
            ("'s3://b/a@b.tar'", "'s3://b/a@b.tar'"),
            (
                "GET https://h/x?X-Amz-Credential=S3CR%2F1&X-Amz-Expires=60&X-Amz-Signature=S3CR failed",
                "GET https://h/x?X-Amz-Credential=***&X-Amz-Expires=60&X-Amz-Signature=*** failed",
            ),
            ("'https://h/x?sv=1&sig=S3CR%3D&se=2' :: *.csv", "'https://h/x?sv=1&sig=***&se=2' :: *.csv"),
            ("https://h/x?key=S3CR", "https://h/x?key=***"),
            ("can't: token=S3CR, isn't it", "can't: token=***, isn't it"),
            ("Authorization: Bearer S3CR.x-y end", "Authorization: Bearer *** end"),
            ("{\"SessionToken\":\"S3\\\"CR\",\"a\":1}", "{\"SessionToken\":\"***\",\"a\":1}"),
            ("{\\\"token\\\": \\\"S3CR\\\"}", "{\\\"token\\\": \\\"***\\\"}"),
            ("<AWSAccessKeyId>S3CR</AWSAccessKeyId>", "<AWSAccessKeyId>***</AWSAccessKeyId>"),
            ("é'password' 'S3CR é'é", "é'password' '***'é"),
            ("é://ü:S3CR@ö/é", "é://***@ö/é"),
        ];
        for (text, expected) in cases {
            let redacted = redact(text);
            assert_eq!(redacted, expected);
            assert!(!redacted.contains("S3") || !text.contains("S3CR"), "{redacted}");
            assert_eq!(redact(&redacted), redacted, "once is enough");
        }
    }

    #[test]
    fn the_rest_stays() {
        let cases = [
            "SELECT token FROM t WHERE key = 'x' AND __key__ = 'y'",
            "SELECT token, password FROM t GROUP BY token",
            "SELECT token::VARCHAR FROM 's3://b/tokens/*.tar :: *.csv'",
            "COPY token TO 'out.parquet'",
            "SELECT * FROM t WHERE secret IS NULL",
            "OPTIONS ('aws.region' 'eu-west-1', 'aws.endpoint' 'http://localhost:9000', format 'csv')",
            "read_tar('s3://b/**/*.csv.tar :: *.csv.gz', aws.skip_signature",
            "s3://b/a.tar: member 'x/y.json' at offset 10240: header checksum mismatch",
            "",
        ];
        for text in cases {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn urls_keep_what_tells_archives_apart() {
        for (url, expected) in [
            ("https://h/token=7/x.tar?id=1&X-Amz-Signature=S3CR", "https://h/token=7/x.tar?id=1&X-Amz-Signature=***"),
            ("http://u:S3CR@h/x.tar", "http://***@h/x.tar"),
            ("s3://b/token=7/a?sig=1.tar", "s3://b/token=7/a?sig=1.tar"),
            ("file:///a/secret=1/x.tar", "file:///a/secret=1/x.tar"),
        ] {
            assert_eq!(redact_url(url), expected);
        }
    }

    #[test]
    fn any_text_is_taken_in_little_time() {
        let pieces = [
            "token", "'", "\"", "=", "$", "é", " ", "/*", "--", "://", "@", "?", "&", "<", ">", ":", "\\\"", "to", "\n",
        ];
        let mut state = 1_usize;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(state >> 33) % pieces.len()]);
            }
            let _ = redact(&text);
        }
        for piece in ["token/*", "token'", "token ", "token=", "://", "a@", "token=$"] {
            let _ = redact(&piece.repeat(20_000));
        }
    }
}
