-- What is in these archives? Only headers are looked at.
--
--   tarsql --set 'ARCHIVES=s3://bucket/backups/**/*.tar*' -f sql/inventory.sql
--
-- ${ARCHIVES}: a locator, that is a pattern of archives.

-- Archive by archive.
SELECT archive, count(*) AS members, sum(size) AS bytes, min(mtime) AS oldest, max(mtime) AS newest
FROM read_tar('${ARCHIVES}')
GROUP BY archive
ORDER BY bytes DESC, archive
LIMIT 20;

-- By type of member, and files by extension.
SELECT type, CASE WHEN type = 'file' THEN lower(regexp_match(path, '[.]([A-Za-z0-9]+)$')[1]) END AS extension,
       count(*) AS members, sum(size) AS bytes
FROM read_tar('${ARCHIVES}')
GROUP BY 1, 2
ORDER BY bytes DESC, members DESC, type, extension
LIMIT 20;

-- The largest files.
SELECT archive, path, size, mtime
FROM read_tar('${ARCHIVES}')
WHERE type = 'file'
ORDER BY size DESC, archive, path
LIMIT 10;

-- Names that an archive holds more than once: the last one wins when it is unpacked.
SELECT archive, path, count(*) AS times
FROM read_tar('${ARCHIVES}')
GROUP BY archive, path
HAVING count(*) > 1
ORDER BY times DESC, archive, path
LIMIT 10;
