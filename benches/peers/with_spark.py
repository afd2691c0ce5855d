"""Spark, as such pipelines are written: a partition per archive, in which Python reads lines and splits them.

    with_spark.py OUT ARCHIVE...
"""
import os, sys

import opensky

os.environ["PYSPARK_PYTHON"] = sys.executable
DRIVER_MEMORY = "4g"


def rows(archives):
    import gzip
    for archive in archives:
        with opensky.members(archive, ".csv.gz") as members:
            for _, packed in members:
                for number, line in enumerate(gzip.open(packed)):
                    fields = line.decode("utf-8", errors="ignore").rstrip("\n").split(",")
                    if number > 0 and len(fields) == len(opensky.COLUMNS):
                        yield tuple(fields)


def main():
    from pyspark.sql import SparkSession, functions
    from pyspark.sql.types import StringType, StructField, StructType
    out, *archives = sys.argv[1:]
    session = (SparkSession.builder.master("local[*]").appName("tar to Parquet").config("spark.ui.enabled", "false")
               .config("spark.driver.memory", DRIVER_MEMORY).config("spark.sql.parquet.compression.codec", "snappy").getOrCreate())
    session.sparkContext.setLogLevel("ERROR")
    session.sparkContext.addPyFile(opensky.__file__)
    partitions = session.sparkContext.parallelize(archives, len(archives)).mapPartitions(rows)
    frame = session.createDataFrame(partitions, StructType([StructField(name, StringType()) for name in opensky.COLUMNS]))
    for name in (name for name, kind in opensky.AS_TEXT.items() if kind == "double"):
        frame = frame.withColumn(name, functions.expr(f"try_cast({name} AS DOUBLE)"))
    frame.filter("velocity IS NOT NULL").write.mode("overwrite").parquet(out)
    session.stop()


if __name__ == "__main__":
    main()
