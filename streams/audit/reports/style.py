"""What does the page look like? One style sheet, in light, in dark and on paper; no font, no picture, no script.

Every colour of a text has a contrast of at least 4.5 against every ground, which a test computes.
"""

#: Names of colours -> (light, dark). `paper`, `tint`, `future` are grounds, `rule` and `faint` lines, all others text.
COLOURS = {
    "paper": ("#fdfcfa", "#17191c"),
    "tint": ("#f4f1ec", "#212429"),
    "future": ("#fbeeea", "#2c1f1f"),
    "rule": ("#d9d4cb", "#3a3e45"),
    "faint": ("#a39c90", "#6d737c"),
    "ink": ("#1f1e1c", "#e8e6e1"),
    "mute": ("#5e5a53", "#a9adb3"),
    "leak": ("#a3261b", "#ff9488"),
    "warn": ("#7a4f00", "#e8b45c"),
    "cool": ("#1f5687", "#8dbdf0"),
    "good": ("#2c6138", "#8acb98"),
}

#: What may fetch anything: nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _variables(dark: int) -> str:
    return "".join(f"--{name}:{pair[dark]};" for name, pair in COLOURS.items())


_RULES = """
*{box-sizing:border-box}
html{background:var(--paper);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:64rem;padding:2.5rem 1.5rem 4rem;
 font:1rem/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;
 overflow-wrap:anywhere}
h1,h2{font-family:"Iowan Old Style",Charter,Georgia,"Times New Roman",serif;font-weight:600;text-wrap:balance}
h1{font-size:clamp(1.5rem,1.1rem + 1.8vw,2.15rem);line-height:1.25;margin:.4rem 0 1rem;max-width:46rem}
h2{font-size:1.4rem;line-height:1.3;margin:0 0 .75rem}
h3{font-size:1rem;margin:1.75rem 0 .5rem}
p,ul,ol{max-width:42rem;margin:0 0 1rem}
ul,ol{padding-left:1.25rem}
li{margin:.35rem 0}
section{border-top:1px solid var(--rule);margin-top:2.75rem;padding-top:1.75rem}
.kicker,figcaption,.mute{color:var(--mute)}
.kicker{font-size:.875rem;margin:0 0 1rem}
.note{background:var(--tint);border-left:3px solid var(--warn);padding:.7rem 1rem;margin:0 0 1.5rem;max-width:46rem}
.note p{margin:0}.note p+p{margin-top:.5rem}
.lead{font-size:1.1rem;max-width:46rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1rem 2rem;
 margin:1.75rem 0 0;padding:0}
.facts div{border-top:2px solid var(--rule);padding-top:.5rem}
.facts dt{color:var(--mute);font-size:.875rem}
.facts dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}
.facts dd small{display:block;font-size:.8125rem;color:var(--mute)}
figure{margin:1.25rem 0;max-width:46rem}
figcaption{font-size:.875rem;margin-top:.6rem}
figure{overflow-x:auto}svg{display:block}
svg.wide{min-width:25rem}
svg text{font:14px/1 system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--ink)}
svg .s{font-size:12.5px;fill:var(--mute)}
svg .b{font-weight:650}
svg .v{unicode-bidi:isolate;font-weight:650}
svg .end{text-anchor:end}svg .mid{text-anchor:middle}
svg .bad{fill:var(--leak)}svg .cool{fill:var(--cool)}svg .good{fill:var(--good)}
svg .spine{stroke:var(--faint);stroke-width:2}
svg .late{stroke:var(--leak);stroke-width:5}
svg .read{stroke:var(--leak);stroke-width:1.5;stroke-dasharray:5 4}
svg .axis{stroke:var(--rule)}
svg .zone{fill:var(--future)}
svg .dot{fill:var(--faint)}svg .ring{fill:var(--paper);stroke:var(--faint);stroke-width:2}
svg .dot.bad{fill:var(--leak)}svg .ring.bad{stroke:var(--leak)}
svg .bar{fill:var(--leak);opacity:.8}
svg .range{stroke-width:3;stroke:currentColor}
.t-leak{color:var(--leak)}.t-cool{color:var(--cool)}.t-warn{color:var(--warn)}.t-good{color:var(--good)}
svg .t-leak circle,svg .t-cool circle,svg .t-warn circle{fill:currentColor}
.scroll{overflow-x:auto;margin:1rem 0}
.scroll:focus-visible{outline:2px solid var(--cool);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
caption{text-align:left;color:var(--mute);padding:0 0 .5rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .9rem .4rem 0;border-bottom:1px solid var(--rule)}
thead th{color:var(--mute);font-weight:500;vertical-align:bottom;border-bottom:1.5px solid var(--faint)}
tbody th{font-weight:600;overflow-wrap:anywhere;min-width:8rem}
td.n,th.n{text-align:right}td.n{white-space:nowrap}
td.nil{color:var(--mute)}
td.txt{overflow-wrap:anywhere;min-width:7rem}
tr.hit th,tr.hit td{background:var(--future)}
.word{font-weight:650;white-space:nowrap}
dl.terms{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.25rem;
 margin:1rem 0;max-width:46rem;font-size:.9375rem}
dl.terms dt{font-weight:650}dl.terms dd{margin:0}
ul.findings{list-style:none;padding:0}
ul.findings li{padding:.6rem 0;border-bottom:1px solid var(--rule)}
code,pre{font:.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--tint);padding:.8rem 1rem;white-space:pre-wrap;max-width:46rem;margin:.5rem 0 1rem}
footer{margin-top:3rem;color:var(--mute);font-size:.875rem}
@media(max-width:34rem){body{padding:1.5rem 1rem 3rem}
svg text{font-size:13px}svg .s{font-size:11.5px}dl.terms{grid-template-columns:1fr;gap:0}dl.terms dd{margin:0 0 .6rem}}
@media print{@page{margin:18mm 16mm}
html,body{background:#fff}
body{padding:0;max-width:none;font-size:10pt}
.facts{grid-template-columns:repeat(4,1fr)}h2+p{break-after:avoid}
figure,dl.terms,.lead,figcaption{font-size:9.5pt;overflow:visible}
section{margin-top:1.5rem;padding-top:1rem}
h2,h3,caption{break-after:avoid}
figure,.facts,.note,tr,li,dl.terms{break-inside:avoid}
thead{display:table-header-group}
.scroll{overflow:visible}table{font-size:8pt}th,td{padding-right:.5rem}
svg,tr.hit th,tr.hit td,.note,pre{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""

SHEET = (
    f":root{{color-scheme:light dark;{_variables(0)}}}"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(1)}}}}}{_RULES}"
)
