-- How the time grows with the data: the same archives once, ten times, a hundred times, without copying them.
--
--   for scale in 1 10 100; do
--     tarsql --metrics scaling.json --label "scale $scale" --set scale=$scale \
--       --set 'ARCHIVES=testdata/opensky/states/**/*.csv.tar' --set OUT=target/scaling.parquet -f sql/scaling.sql
--   done
--
-- ${scale}: how often each archive is read.  ${ARCHIVES}: OpenSky-shaped archives.  ${OUT}: the Parquet file to write.
-- One statement, so that each call is one run in the metrics file.

COPY (
  SELECT time, icao24, velocity, geoaltitude
  FROM read_tar('${ARCHIVES} :: *.csv.gz',
                format = 'csv', columns = 'time BIGINT, icao24 VARCHAR, velocity DOUBLE, geoaltitude DOUBLE',
                on_bad_row = 'null', repeat = ${scale})
  WHERE velocity IS NOT NULL
) TO '${OUT}' STORED AS PARQUET;
