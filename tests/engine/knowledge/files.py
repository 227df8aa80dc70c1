"""Real files of the kinds that people upload, made on the spot."""

import io
from collections.abc import Sequence

import docx
import openpyxl
import pptx
from pptx.util import Inches
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Table

PRICES = [["Model", "Price"], ["K100", "39.90"], ["K200", "59.90"]]
CHINESE = "青川冰箱整机保修三年，压缩机保修十年。保修期内上门维修不收取任何费用，保修期外只收取零件的成本。"


def pdf(password: str | None = None) -> bytes:
    """Three pages with a running head and foot: a paragraph and a table, a Chinese page, a list."""
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    styles = getSampleStyleSheet()
    chinese = ParagraphStyle("zh", fontName="STSong-Light", fontSize=11, leading=16, wordWrap="CJK")
    title = ParagraphStyle("zh1", parent=chinese, fontSize=18, leading=24)
    long = "The refund reaches your account five working days after the parcel has arrived at our warehouse. "
    grid = [("GRID", (0, 0), (-1, -1), 1, colors.black)]
    flow = [
        Paragraph("Returns", styles["Heading1"]),
        Paragraph(long * 3, styles["Normal"]),
        Table(PRICES, style=grid),
        Paragraph("Prices hold until May.", styles["Normal"]),
        PageBreak(),
        Paragraph("保修政策", title),
        Paragraph(CHINESE, chinese),
        PageBreak(),
        Paragraph("Delivery", styles["Heading2"]),
        Paragraph("&bull; We deliver on weekdays.", styles["Normal"]),
        Paragraph("&bull; Islands take two days more.", styles["Normal"]),
    ]

    def edges(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.drawString(250, 20, f"Page {document.page} of 3")
        canvas.drawString(100, 820, "ACME Handbook")

    out = io.BytesIO()
    SimpleDocTemplate(out, pagesize=A4, encrypt=password).build(flow, onFirstPage=edges, onLaterPages=edges)
    return out.getvalue()


def scan() -> bytes:
    """A PDF that only holds a drawing."""
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.circle(300, 400, 100, fill=1)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def columns() -> bytes:
    """A PDF of two columns; the left one ends inside a sentence."""
    out = io.BytesIO()
    canvas = Canvas(out)
    left = ["Tea is grown on the hills of the", "north. It is picked by hand and"]
    right = ["dried in the sun. Coffee grows in", "the south, where it is warmer."]
    for lines, across in ((left, 50), (right, 310)):
        for n, line in enumerate(lines):
            canvas.drawString(across, 700 - 14 * n, line)
    canvas.save()
    return out.getvalue()


def word() -> bytes:
    """A Word document with a title, a heading, a list and a table."""
    document = docx.Document()
    document.add_heading("Staff handbook", 0)
    document.add_heading("Leave", 1)
    document.add_paragraph("Every employee has twenty-five days of leave.")
    for item in ("Ask your lead.", "Enter it in the calendar."):
        document.add_paragraph(item, style="List Bullet")
    table = document.add_table(2, 2)
    for cells, row in zip(table.rows, (("年", "天数"), ("第一年", "25")), strict=True):
        for cell, text in zip(cells.cells, row, strict=True):
            cell.text = text
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def slides() -> bytes:
    """Two slides: texts with notes, and a table."""
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Roadmap 2027"
    first.placeholders[1].text = "Spring: beta\nAutumn: launch"
    first.notes_slide.notes_text_frame.text = "Mention the budget."
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "价格"
    table = second.shapes.add_table(3, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for cells, row in zip(table.rows, PRICES, strict=True):
        for cell, text in zip(cells.cells, row, strict=True):
            cell.text = text
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def workbook(*sheets: tuple[str, Sequence[Sequence[object]]]) -> bytes:
    """An Excel workbook of these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
