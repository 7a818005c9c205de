"""The page's style sheet: light, dark, print and phone. Colours are Okabe and Ito's (2008), which
the colour-blind can tell apart; none means anything that a word beside it does not say.
"""

CSS = """
:root{--ink:#1a1a1a;--paper:#fff;--soft:#f3f3f1;--line:#c9c9c4;--faint:#5c5c58;--link:#005a94;
--kept:#0072b2;--dropped:#d55e00;--limit:#1a1a1a;
--c0:#56b4e9;--c1:#e69f00;--c2:#009e73;--c3:#cc79a7;--c4:#d55e00;--c5:#999;--c6:#0072b2;
color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#ececea;--paper:#161616;--soft:#232322;
--line:#4a4a47;--faint:#b0b0aa;--link:#7cc4f5;--kept:#56b4e9;--dropped:#e69f00;--limit:#ececea;
--c6:#3a9bdc}}
@media print{:root{--ink:#000;--paper:#fff;--soft:#fff;--line:#999;--faint:#333;--link:#000;
--kept:#0072b2;--dropped:#d55e00;--limit:#000}nav{display:none}section{break-inside:auto}
figure,tr{break-inside:avoid}.scroll{overflow:visible}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.3rem;margin:2.5rem 0 .75rem;border-bottom:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.5rem 0 .25rem}
a{color:var(--link)}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:3px solid var(--link);
outline-offset:2px}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;padding:0;margin:1rem 0}
.skip{position:absolute;left:-100rem}.skip:focus{position:static}
.note{color:var(--faint);font-size:.9rem;margin:.25rem 0 1rem}
.missing{border-left:.3rem solid var(--dropped);background:var(--soft);padding:.5rem 1rem}
.blank{color:var(--faint);font-style:italic}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.9rem}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{padding:.2rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);
overflow-wrap:anywhere;min-width:4rem}
thead th{background:var(--soft);overflow-wrap:normal}
tbody th{font-weight:400;min-width:9rem}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
figure{margin:1rem 0}figcaption{font-size:.9rem;font-weight:600}
svg{display:block;width:100%;height:auto;max-width:48rem;font:12px system-ui,sans-serif}
svg text{fill:var(--ink)}svg .faint{fill:var(--faint)}
.wide svg{min-width:36rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));
gap:.5rem 1.5rem}
.grid figure{margin:.25rem 0}
.key{display:inline-block;width:.9em;height:.9em;margin:0 .3em 0 1em;vertical-align:-.1em}
dt{font-weight:600;margin-top:.75rem}dd{margin:0;white-space:pre-line;overflow-wrap:anywhere}
pre{overflow-x:auto;background:var(--soft);padding:.75rem;font-size:.85rem}
details{margin:.75rem 0}summary{cursor:pointer}
"""
