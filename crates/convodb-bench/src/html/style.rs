//! The style sheet of the page.

use crate::chart::palette::{Theme, custom_properties};

/// The rules of CSS, for light and dark, wide and narrow.
pub(super) fn sheet() -> String {
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n{RULES}",
        custom_properties(Theme::Light),
        custom_properties(Theme::Dark)
    )
}

const RULES: &str = "\
*{box-sizing:border-box}
body{margin:0;background:var(--background);color:var(--ink);\
font:16px/1.55 system-ui,-apple-system,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif}
main{max-width:868px;margin:0 auto;padding:48px 24px 72px}
.name{margin:0;color:var(--blue);font-size:14px;font-weight:600}
h1{margin:4px 0 12px;font-size:36px;line-height:1.15;letter-spacing:-.02em}
h2{margin:0 0 4px;font-size:21px;line-height:1.3;letter-spacing:-.01em}
.lead{margin:0 0 12px;font-size:19px;line-height:1.45;max-width:38em}
.note,figcaption,.caption{margin:0;color:var(--muted);font-size:14px;max-width:52em}
.warning{margin:12px 0 0;padding:10px 14px;border-left:3px solid var(--red);font-size:14px}
.date{white-space:nowrap}
section{margin-top:56px}
.caption{margin-bottom:16px}
figure{margin:12px 0 0}
figure svg{display:block;width:100%;height:auto}
.narrow{display:none}
.facts{display:grid;grid-template-columns:repeat(4,1fr);gap:24px;margin:32px 0 0;\
padding:20px 0;border-top:1px solid var(--grid);border-bottom:1px solid var(--grid)}
.facts div{display:flex;flex-direction:column-reverse;justify-content:flex-end}
.facts dt{color:var(--muted);font-size:13px;line-height:1.35}
.facts dd{margin:0;font-size:26px;font-weight:600;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin-top:12px}
table{width:100%;border-collapse:collapse;font-size:13.5px;line-height:1.4;font-variant-numeric:tabular-nums}
th,td{padding:6px 0 6px 18px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th:first-child,td:first-child{padding-left:0;text-align:left}
th{color:var(--muted);font-weight:500;vertical-align:bottom}
td small{color:var(--muted);font-size:inherit}
details{margin-top:16px}
summary{cursor:pointer;color:var(--blue);font-size:14px}
ul{margin:12px 0 0;padding-left:20px;font-size:14.5px}
li{margin-bottom:8px;max-width:52em}
@media (max-width:700px){
main{padding:28px 16px 48px}
h1{font-size:28px}
.lead{font-size:17px}
section{margin-top:44px}
.facts{grid-template-columns:1fr 1fr;gap:18px}
.facts dd{font-size:22px}
.wide{display:none}
.narrow{display:block;max-width:420px}
}
@media print{details{display:block}}
";
