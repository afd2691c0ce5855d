-- State vectors of the OpenSky Network, from tar archives to Parquet: the job that is otherwise a cluster and a script.
--
--   AWS_ENDPOINT_URL=… AWS_SKIP_SIGNATURE=true \
--   tarsql --metrics metrics.json --set BUCKET=s3://data-samples --set PREFIX=states/.2022-06-27 --set TARGET=out -f sql/opensky.sql
--
-- ${BUCKET}: s3:// and the bucket, or a folder.  ${PREFIX}: where in it, without a slash at either end.
-- ${TARGET}: a folder or s3://bucket/prefix; the hours that are CSV go to its csv/, those that are Avro to its avro/.
--
-- The archives have a licence and a readme beside the data, which the member pattern leaves out. A row with another
-- number of fields is dropped and counted; a number that does not parse is NULL; a row without velocity is left out.

CREATE EXTERNAL TABLE states_csv (
  time BIGINT, icao24 VARCHAR, lat DOUBLE, lon DOUBLE, velocity DOUBLE, heading DOUBLE, vertrate DOUBLE, callsign VARCHAR,
  onground BOOLEAN, alert BOOLEAN, spi BOOLEAN, squawk VARCHAR, baroaltitude DOUBLE, geoaltitude DOUBLE,
  lastposupdate DOUBLE, lastcontact DOUBLE
)
STORED AS TAR
LOCATION '${BUCKET}/${PREFIX}/**/*.csv.tar :: *.csv.gz'
OPTIONS ('format' 'csv', 'has_header' 'true', 'on_bad_row' 'null');

COPY (SELECT * FROM states_csv WHERE velocity IS NOT NULL) TO '${TARGET}/csv/' STORED AS PARQUET;

-- Avro brings its own columns.
CREATE EXTERNAL TABLE states_avro
STORED AS TAR
LOCATION '${BUCKET}/${PREFIX}/**/*.avro.tar :: *.avro'
OPTIONS ('format' 'avro');

COPY (SELECT * FROM states_avro WHERE velocity IS NOT NULL) TO '${TARGET}/avro/' STORED AS PARQUET;
