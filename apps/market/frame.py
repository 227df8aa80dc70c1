"""What every page of the market shares: its sub-navigation, its look, the way back to the catalog."""

from apps.market import views
from apps.pages import Page
from apps.theme import MONO
from engine.accounts.schemas import Person

CSS = f"""
.mbe-page .mbe-table tr{{border:0}} .mbe-page .mbe-table td a time{{color:inherit}}
.mbe-experts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:12px}}
.mbe-page a.mbe-expert{{display:flex;flex-direction:column;gap:4px;padding:16px;color:var(--ink);
 background:var(--panel);border:1px solid var(--line);border-radius:10px;text-decoration:none;
 overflow-wrap:anywhere;font-size:15px;text-align:left}}
.mbe-page a.mbe-expert:hover,.mbe-page a.mbe-expert:focus-visible{{border-color:var(--primary);outline:none}}
.mbe-page a.mbe-expert b{{font-size:18px;font-weight:650;color:var(--ink)}}
.mbe-about{{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden}}
.mbe-price{{margin-top:auto;padding-top:4px;font-weight:600;font-variant-numeric:tabular-nums}}
.mbe-tag{{display:inline-block;border:1px solid var(--line);border-radius:12px;padding:1px 10px;
 margin:0 6px 4px 0;color:var(--muted);font-size:15px}}
.mbe-page p a,.mbe-page .mbe-cost a,.mbe-page .mbe-lines a,.mbe-page .mbe-note a{{padding:0}}
.mbe-page .tab-container button.selected{{color:var(--primary)!important}}
.mbe-narrow{{max-width:400px}}
.mbe-page .mbe-question textarea{{border:1px solid var(--line)!important;border-radius:8px;padding:9px 12px}}
.mbe-page .mbe-question textarea:focus{{border-color:var(--primary)!important}}
.mbe-cost{{color:var(--muted);font-size:14px;margin-top:6px;font-variant-numeric:tabular-nums}}
.mbe-page .mbe-cost,.mbe-page .mbe-cost span{{color:var(--muted)}}
.mbe-cost a{{color:var(--muted)!important;text-decoration:underline}}
.mbe-page .mbe-cost button{{color:var(--muted);background:none;border:0;padding:0;min-height:0;font:inherit;
 text-decoration:underline;cursor:pointer}}
.mbe-page .mbe-cost a:hover,.mbe-page .mbe-cost button:hover{{color:var(--primary)!important}}
.mbe-chat .message{{overflow-wrap:anywhere}} .mbe-chat .message-content .md{{white-space:pre-wrap}}
.mbe-page .mbe-chat .user.message{{background:var(--paper)!important;border-color:var(--line)!important}}
.mbe-page .mbe-chat .bot.message{{background:none!important;border:0!important;max-width:100%}}
.mbe-chat .icon-button-wrapper{{display:none}}
.mbe-copy{{margin-top:12px}}
.mbe-copy-top{{display:flex;justify-content:space-between;align-items:end;gap:12px;margin-bottom:4px}}
.mbe-page .mbe-copy button{{border:1px solid var(--line);border-radius:8px;padding:2px 12px;
 background:var(--panel);color:var(--ink);cursor:pointer;flex:none;
 font-size:14px;font-weight:400}}
.mbe-page .mbe-copy button:hover{{border-color:var(--primary)}}
.mbe-page .mbe-copy pre{{font-family:{MONO};margin:0;padding:12px 16px;border:1px solid var(--line);
 border-radius:10px;background:var(--panel);color:var(--ink);overflow-x:auto;white-space:pre-wrap}}
.mbe-page .mbe-lines{{margin:8px 0;max-width:640px}}
.mbe-lines>div{{display:flex;justify-content:space-between;gap:4px 24px;padding:8px 0;flex-wrap:wrap;
 border-bottom:1px solid var(--line)}}
.mbe-lines>div:last-child{{border-bottom:0}}
.mbe-lines dt{{color:var(--muted)}}
.mbe-lines dd{{margin:0;font-variant-numeric:tabular-nums;text-align:right;overflow-wrap:anywhere}}
"""


class MarketPage(Page):
    """A page of the market; everybody who is signed in may see it."""

    place = "market"
    catalog = "marketplace"
    css = CSS
    tab = "catalog"

    def tabs(self, person: Person | None) -> list[tuple[str, str, bool]]:
        return views.tabs(self.language, self.tab)

    def lost(self, message: str) -> str:
        return views.lost(message, self.language)
