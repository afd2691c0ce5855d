-- What a Rust developer has downloaded: every .crate in cargo's cache is a gzipped tar.
--
--   tarsql --set 'CRATES=~/.cargo/registry/cache/*' -f sql/crates.sql
--
-- ${CRATES}: the folder with the .crate files, or a pattern of such folders.

-- The largest ones.
SELECT split_part(path, '/', 1) AS crate, count(*) AS files, sum(size) AS bytes
FROM read_tar('${CRATES}/*.crate')
WHERE type = 'file'
GROUP BY crate
ORDER BY bytes DESC, crate
LIMIT 10;

-- Their licences. A pattern with a slash matches whole paths: only the manifest at the top.
SELECT coalesce(regexp_match(text, '(?m)^license = "([^"]*)"')[1], '(none given)') AS license, count(*) AS crates
FROM read_tar('${CRATES}/*.crate :: */Cargo.toml', format = 'text')
GROUP BY license
ORDER BY crates DESC, license
LIMIT 10;

-- Lines that are not blank, per language.
SELECT regexp_match(path, '[.]([A-Za-z]+)$')[1] AS language, count(DISTINCT archive) AS crates, count(*) AS lines
FROM read_tar('${CRATES}/*.crate :: *.{rs,c,h,cc,cpp,S,asm,py,js,sh,pl,md,toml}', format = 'lines', on_invalid_utf8 = 'replace')
WHERE trim(line) <> ''
GROUP BY language
ORDER BY lines DESC, language;
