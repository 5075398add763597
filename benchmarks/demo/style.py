"""The style sheet of the demo's report, for light and dark mode and for wide and narrow screens. It loads no fonts."""

STYLE = """
:root{color-scheme:light dark;--page:#f6f6f3;--card:#fff;--ink:#1b1f24;--soft:#5d6670;--line:#e2e3de;--accent:#0b7a75;
--plain:#8b949e;--unpruned:#3b6fb6;--pruned:#0b7a75;--fp16:#8250a8;--int8:#a8560b;--right:#1a7f4b;--wrong:#c2410c;--note:#fff4d6;--noteink:#6b4e00;
--veil:rgba(246,246,243,.86);--cell:rgba(255,255,255,.55);--band:rgba(11,122,117,.07);
--alone:#c9ccd0;--light:84%}
@media(prefers-color-scheme:dark){:root{--page:#121518;--card:#1a1e22;--ink:#e7e9ea;--soft:#9aa4ad;--line:#2b3137;
--accent:#4cc9c0;--plain:#7d8790;--unpruned:#7fb0f0;--pruned:#4cc9c0;--fp16:#c9a2ea;--int8:#f0b04f;--right:#4ade80;--wrong:#fb8b4b;--note:#2e2710;
--noteink:#f0d58a;--veil:rgba(18,21,24,.86);--cell:rgba(255,255,255,.28);--band:rgba(76,201,192,.08);
--alone:#454c53;--light:43%}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.6 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:3.2rem 1.5rem 4rem}
h1{font-size:clamp(1.9rem,4.6vw,3.1rem);line-height:1.12;letter-spacing:-.025em;margin:.5rem 0 1rem;max-width:21em;text-wrap:balance}
h2{font-size:1.4rem;letter-spacing:-.012em;line-height:1.25;margin:3.4rem 0 .4rem}
h3{font-size:1rem;margin:0 0 .2rem}
p{margin:.5rem 0 1rem;max-width:72ch}
.lead{font-size:1.16rem;color:var(--soft)}
.lead b{color:var(--ink)}
.kicker{font-size:.8rem;font-weight:650;letter-spacing:.09em;text-transform:uppercase;color:var(--accent);margin:0}
.soft{color:var(--soft);font-size:.92rem}
.label{background:var(--note);color:var(--noteink);border-radius:10px;padding:.7rem 1rem;font-size:.92rem;max-width:none}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.1rem 1.2rem}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:1rem;margin:1.6rem 0}
.tile b{display:block;font-size:1.9rem;line-height:1.2;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.86rem;display:block;line-height:1.4}
.wide{overflow-x:auto;padding:.4rem 1.2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:.65rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
tr:last-child td{border-bottom:0}
td:first-child,th:first-child{text-align:left;padding-left:0}
th{font-size:.8rem;font-weight:600;color:var(--soft)}
tr:last-child td{font-weight:650}
.swatch{display:inline-block;width:.68em;height:.68em;border-radius:50%;margin-right:.5em}
.swatch.unpruned-plain{background:var(--plain)}.swatch.unpruned{background:var(--unpruned)}.swatch.pruned{background:var(--pruned)}
.swatch.pruned-fp16{background:var(--fp16)}.swatch.pruned-int8{background:var(--int8)}
.two{display:grid;grid-template-columns:1fr 1fr;gap:1.2rem;margin-top:1.4rem}
.two section{display:flex;flex-direction:column}
.two h2{margin:0 0 .3rem;font-size:1.2rem}
.chart{width:100%;height:auto;display:block;margin:auto 0 .2rem;padding-top:.8rem}
.chart text{font-size:12.5px;fill:var(--ink)}
.chart .tick,.chart .small,.chart .axis{fill:var(--soft)}
.chart .small{font-size:11.5px}
.chart .name{font-weight:650;font-size:13px}
.chart .mid{text-anchor:middle}.chart .end{text-anchor:end}
.grid{stroke:var(--line);fill:none}
.band{fill:var(--band)}
.line{fill:none;stroke-width:2.2}.bar{fill:none;stroke-width:1.4;opacity:.6}.trail{fill:none;stroke:var(--soft);stroke-dasharray:2 5}
.line.unpruned,.bar.unpruned{stroke:var(--unpruned)}.line.pruned,.bar.pruned{stroke:var(--pruned)}
.dot{stroke:var(--card);stroke-width:1.6}
.dot.unpruned-plain{fill:var(--plain)}.dot.unpruned{fill:var(--unpruned)}.dot.pruned{fill:var(--pruned)}.dot.pruned-int8{fill:var(--int8)}
.chart .name.unpruned{fill:var(--unpruned)}.chart .name.pruned{fill:var(--pruned)}.chart .name.pruned-int8{fill:var(--int8)}
.legend{display:flex;gap:1.2rem;font-size:.88rem;margin:0;padding:0;list-style:none;flex-wrap:wrap}
.rankings{display:grid;gap:.9rem;margin-top:1.2rem}
.ranking{display:grid;grid-template-columns:minmax(0,1.08fr) minmax(0,8fr);gap:1.2rem;padding:1rem 1.1rem}
.hits{display:grid;grid-template-columns:repeat(8,minmax(0,1fr));gap:.55rem}
figure{margin:0;font-size:.78rem;line-height:1.35;color:var(--soft);font-variant-numeric:tabular-nums}
figure img{display:block;width:100%;aspect-ratio:1/2;object-fit:cover;border-radius:7px;margin-bottom:.3rem}
figure b{font-weight:650}
.hit img{border:3px solid;border-radius:8px}
.right img{border-color:var(--right)}.wrong img{border-color:var(--wrong)}
.right b{color:var(--right)}.wrong b{color:var(--wrong)}
.query b{color:var(--ink);display:block;font-size:.92rem}
.hit b{font-size:.95rem}
.maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(118px,1fr));gap:1.1rem;margin-top:1.2rem}
.maps b{color:var(--ink);display:block;font-size:.92rem}
.map{display:block;width:100%;height:auto;border-radius:7px;margin-bottom:.4rem}
.veil{fill:var(--veil)}.cell{fill:none;stroke:var(--cell);stroke-width:.35}
.heads{display:block;margin:.15rem 0 .1rem;max-width:100%}
.heads .on{fill:var(--pruned)}.heads .off{fill:none;stroke:var(--soft);stroke-width:1;opacity:.6}
.lanes{overflow-x:auto;margin:1rem 0}.lanes svg{display:block;width:100%;height:auto}
.commands{list-style:none;margin:1rem 0 0;padding:.3rem 1.2rem}
.commands li{display:grid;grid-template-columns:13rem 4rem 1fr;gap:1rem;padding:.6rem 0;
border-bottom:1px solid var(--line);align-items:baseline}
.commands li:last-child{border-bottom:0}
.commands b{font-size:.92rem}
.commands span{font-size:.92rem;text-align:right;font-variant-numeric:tabular-nums;color:var(--soft)}
code{font:12.5px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.4rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:900px){.tiles{grid-template-columns:1fr 1fr}.two{grid-template-columns:minmax(0,1fr)}}
@media(max-width:720px){main{padding:2rem 1rem 3rem}h2{margin-top:2.4rem}
.ranking{grid-template-columns:minmax(0,1fr);gap:.8rem}
.query{display:grid;grid-template-columns:5.2rem 1fr;gap:0 .9rem;align-content:start}
.query img{margin:0}.hits{grid-template-columns:repeat(4,minmax(0,1fr));gap:.6rem .5rem}
.maps{grid-template-columns:repeat(3,minmax(0,1fr));gap:1rem .8rem}
.commands li{grid-template-columns:1fr max-content;gap:.1rem 1rem}.commands code{grid-column:1/-1}
.chart text{font-size:16px}.chart .small{font-size:14px}.chart .name{font-size:16px}
.wide{padding:.3rem .8rem}td,th{padding:.55rem .32rem;font-size:.8rem}th{font-size:.72rem}.swatch{margin-right:.3em}
.tile b{font-size:1.5rem}.tile{padding:.8rem .9rem}dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
"""
