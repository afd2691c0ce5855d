-- A first look: what is in three archives, what is in their members, and the result as Parquet. From the package's folder:
--
--   cargo run --release -- -f sql/quickstart.sql --set OUT=target/states.parquet
--
-- ${OUT}: the Parquet file to write.

-- Without a format, each member of each archive is a row.
SELECT path, type, size, mtime
FROM read_tar('testdata/opensky/states/.2022-06-27/*/*.csv.tar')
ORDER BY archive, data_offset;

-- Behind " :: " stands which members to read. They are compressed CSV files inside a tar; a row is a record now.
SELECT time, icao24, callsign, velocity, geoaltitude
FROM read_tar('testdata/opensky/states/.2022-06-27/*/*.csv.tar :: *.csv.gz',
              format = 'csv', columns = 'time BIGINT, icao24 VARCHAR, callsign VARCHAR, velocity DOUBLE, geoaltitude DOUBLE',
              on_bad_row = 'null')
WHERE velocity > 250
ORDER BY velocity DESC
LIMIT 5;

COPY (
  SELECT time, icao24, lat, lon, velocity, geoaltitude
  FROM read_tar('testdata/opensky/states/.2022-06-27/*/*.csv.tar :: *.csv.gz',
                format = 'csv',
                columns = 'time BIGINT, icao24 VARCHAR, lat DOUBLE, lon DOUBLE, velocity DOUBLE, geoaltitude DOUBLE',
                on_bad_row = 'null')
  WHERE velocity IS NOT NULL
) TO '${OUT}' STORED AS PARQUET;

SELECT count(*) AS rows, count(DISTINCT icao24) AS aircraft, round(avg(velocity), 1) AS mean_velocity
FROM '${OUT}';
