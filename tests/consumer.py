"""The notebook that has always read the metrics file, unchanged: pandas, times of day, one bar a run.

usage: consumer.py METRICS.json CHART.png    prints what it saw as JSON
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

metrics_file, chart = sys.argv[1:]

with open(metrics_file, encoding="ascii") as f:
    df = pd.DataFrame(json.load(f))

df['time'] = pd.to_datetime(df['iso_date']).dt.strftime('%H:%M:%S')
durations = df[df['metric'] == 'Duration']

plt.figure()
bars = plt.bar(durations['iso_date'], durations['value'])
plt.xticks(range(len(durations)), durations['time'], rotation=45)
plt.ylabel(durations['unit'].iloc[0])
plt.tight_layout()
plt.savefig(chart)

assert pd.api.types.is_numeric_dtype(df['value']), df['value'].dtype
assert df['value'].notna().all(), "a value is missing"
assert df['time'].str.fullmatch(r'\d\d:\d\d:\d\d').all(), df['time'].unique()
assert df['iso_date'].str.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00').all(), df['iso_date'].unique()
seconds = pd.to_datetime(df['iso_date']).astype('int64') / 1e9
assert ((seconds - df['timestamp']).abs() < 1e-3).all(), "iso_date and timestamp differ"
assert (durations['stage'] == 'Processing').all(), durations['stage'].unique()
assert (durations['unit'] == 'Seconds').all(), durations['unit'].unique()
assert (durations['value'] > 0).all()
runs = df['run_id'].nunique()
assert len(durations) == runs == durations['run_id'].nunique() == len(bars), f"{runs} runs, {len(durations)} durations, {len(bars)} bars"
status = df[df['metric'] == 'Status']
assert len(status) == runs and status['value'].isin([0, 1]).all(), status
for run_id, run in df.groupby('run_id', sort=False):
    assert list(run['metric'])[-3:] == ['RowCount', 'Duration', 'Status'], f"{run_id} ends with {list(run['metric'])[-3:]}"
assert status[status['value'] == 0]['details'].str.len().gt(0).all(), "a failed run says why"

rows = df[df['metric'] == 'RowCount']
print(json.dumps({
    "runs": runs,
    "failed": int((status['value'] == 0).sum()),
    "times": list(durations['time']),
    "labels": list(durations['label']),
    "rows": [int(value) for value in rows['value']],
    "metrics": sorted(df['metric'].unique()),
}))
