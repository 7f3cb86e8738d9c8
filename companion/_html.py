"""What all HTML representations share."""

# In dark mode the book's theme puts HTML outputs on a light ground. Ours, of the class "nop", take
# their colours from the page and need none.
STYLE = (
    "<style>html[data-theme=dark] div.cell_output .text_html:has(.nop)"
    "{background:none!important;color:inherit!important;padding:0!important}</style>"
)
