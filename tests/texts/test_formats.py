"""The text of a document in each of the formats in which Pyserini's indexes store one."""

import json

import pytest
from pyserini_rerank import Template
from pyserini_rerank.texts.formats import text_of_fields


def text_of(raw, **fields):
    """The text of a document whose raw is a string, or JSON of a dict."""
    return text_of_fields({"raw": raw if isinstance(raw, str) else json.dumps(raw), **fields})


# ------------------------------------------------------------------------------------------- the collections' formats

PASSAGE = "The presence of communication amid scientific minds was equally important to the Manhattan Project."


def test_msmarco_v1_passage():
    raw = '{\n  "id" : "0",\n  "contents" : "' + PASSAGE + '"\n}'
    assert text_of(raw) == PASSAGE


def test_beir():
    raw = {
        "_id": "4983",
        "title": "Microstructural development of human newborn cerebral white matter",
        "text": "Alterations of the architecture of cerebral white matter can affect cortical development.",
        "metadata": {"url": "https://www.ncbi.nlm.nih.gov/pubmed/10494", "year": 1998},
    }
    assert text_of(raw) == (
        "Microstructural development of human newborn cerebral white matter "
        "Alterations of the architecture of cerebral white matter can affect cortical development."
    )


def test_beir_without_a_title():
    # FiQA, Quora and others have "title": "" in every document.
    assert text_of({"_id": "3", "title": "", "text": "How do I read a balance sheet?", "metadata": {}}) == (
        "How do I read a balance sheet?"
    )


def test_miracl():
    raw = {"docid": "12#0", "title": "Anarchism", "text": "Anarchism is a political philosophy."}
    assert text_of(raw) == "Anarchism Anarchism is a political philosophy."


def test_miracl_in_another_script():
    raw = '{"docid":"7#0","title":"\\u0627\\u0644\\u0645\\u0627\\u0621","text":"الماء مادةٌ شفافةٌ 🌊"}'
    assert text_of(raw) == "الماء الماء مادةٌ شفافةٌ 🌊"


def test_msmarco_v2_passage():
    raw = {
        "pid": "msmarco_passage_00_0",
        "passage": "0-60 Times - 0-60 | 0 to 60 Times & 1/4 Mile Times",
        "spans": "(0,14),(17,51)",
        "docid": "msmarco_doc_00_0",
    }
    assert text_of(raw) == "0-60 Times - 0-60 | 0 to 60 Times & 1/4 Mile Times"


def test_msmarco_v2_document():
    raw = {
        "url": "http://0-60.reviews/0-60-times/",
        "title": "0-60 Times",
        "headings": "0-60 Times\n0-60 Times",
        "body": "0-60 Times - 0-60 | 0 to 60 Times\nThere are many ways to measure the time.",
        "docid": "msmarco_doc_00_0",
    }
    assert text_of(raw) == ("0-60 Times 0-60 Times - 0-60 | 0 to 60 Times\nThere are many ways to measure the time.")


@pytest.mark.parametrize("docid", ["msmarco_doc_00_0#0", "msmarco_v2.1_doc_00_0#0_0"])
def test_msmarco_segmented_document(docid):
    raw = {
        "docid": docid,
        "url": "http://0-60.reviews/0-60-times/",
        "title": "0-60 Times",
        "headings": "0-60 Times",
        "segment": "There are many ways to measure the time a vehicle takes.",
        "start_char": 0,
        "end_char": 55,
    }
    assert text_of(raw) == "0-60 Times There are many ways to measure the time a vehicle takes."


def test_msmarco_v1_document():
    # The lines of contents are url, title and body; the title is in there and not repeated.
    contents = "https://answers.example.com/ruth\nWhat is a Ruth?\nRuth is a given name from the Book of Ruth."
    assert text_of({"id": "D1", "contents": contents}) == contents


def test_doc2query_and_vectors_beside_the_text_are_left_alone():
    raw = {"id": "0", "contents": PASSAGE, "vector": {"presence": 120, "communication": 88}}
    assert text_of(raw) == PASSAGE


SGML = """<DOC>
<DOCNO> FBIS3-1 </DOCNO>
<DOCHDR>
http://www.example.com 1.2.3.4 text/html 200
</DOCHDR>
<HEADER><DATE1>March 1994</DATE1></HEADER>
<HEADLINE>POLITICIANS,  PARTY PREFERENCES </HEADLINE>
<TEXT>
Summary: AT&amp;T and R&D were named.
<P>The second paragraph is 5 &lt; 6.</P>
</TEXT>
</DOC>"""


def test_trec_sgml():
    text = text_of(SGML)
    assert text == (
        "March 1994 POLITICIANS, PARTY PREFERENCES Summary: AT&T and R&D were named. The second paragraph is 5 < 6."
    )
    assert "FBIS3-1" not in text and "1.2.3.4" not in text


def test_html():
    raw = """<!DOCTYPE html><html lang="en"><head><title>Flea &ndash; life cycle</title>
    <script type="text/javascript">if (a < b && c > d) { document.write("<p>no text</p>"); }</script>
    <style>p > b { color: red }</style></head>
    <!-- a comment -->
    <body><h1>Fleas</h1><p>The life&nbsp;cycle takes 30&#8211;75 days.<br/>Caf&eacute; &#x1F63A;</p></body></html>"""
    text = text_of(raw)
    assert text == "Flea – life cycle Fleas The life cycle takes 30–75 days. Café 😺"


def test_html_without_end_tags_or_with_an_end_tag_too_many():
    assert text_of("<p>first<p>second</div><li>third") == "first second third"


def test_html_of_nothing_but_tags_is_an_empty_document():
    assert text_of("<html><body><script>var x = 1;</script></body></html>") == ""


# --------------------------------------------------------------------------------------------- raw, contents, neither


def test_contents_stored_instead_of_raw():
    assert text_of_fields({"id": "d1", "contents": PASSAGE}) == PASSAGE


def test_contents_stored_beside_raw():
    assert text_of({"id": "d1", "title": "T", "text": "the raw text"}, contents="T the raw text") == "T the raw text"


def test_raw_counts_before_contents():
    # contents may be what was indexed, with doc2query's expansions behind the passage.
    assert text_of({"id": "0", "contents": PASSAGE}, contents=f"{PASSAGE} expansion expansion") == PASSAGE


def test_neither_is_no_text():
    assert text_of_fields({"id": "d1"}) is None
    assert text_of_fields({}) is None


def test_contents_stored_beside_a_raw_without_any_text_field():
    # A user's own JSON, "abstract", whose text the generator also stored: that text is there to be read.
    assert text_of({"id": "d1", "abstract": "on cats"}, contents="on cats") == "on cats"


# --------------------------------------------------------------------------------------------------------- plain text


@pytest.mark.parametrize(
    "raw",
    [
        "Just a sentence.",
        "{{Infobox country\n| name = Chad}} Chad is a landlocked country.",
        "{not JSON} at all",
        "{ }brace first",
        "[1] As reference one shows, brackets come first.",
        '["a", "JSON array", "is no document"]',
        "3 < 5 and 5 > 3",
        "<3 is a heart",
        "< p > is no tag",
        "12",
        "null",
        '"quoted"',
    ],
)
def test_plain_text_stays_as_it_is(raw):
    assert text_of(raw) == raw


def test_plain_text_loses_the_white_space_around_it():
    assert text_of("\n  a line\n of text \t") == "a line\n of text"


@pytest.mark.parametrize("raw", ["", "   ", "\n\t", "\u3000"])
def test_empty_raw_is_an_empty_document(raw):
    assert text_of(raw) == ""


# -------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("text", ["", "   ", "\n"])
@pytest.mark.parametrize("field", ["contents", "text", "passage", "segment", "body"])
def test_empty_text_is_an_empty_document(field, text):
    assert text_of({"id": "d1", field: text}) == ""


def test_a_title_alone_is_a_text():
    # Many BEIR documents (SCIDOCS, TREC-COVID) have a title and an empty text.
    assert text_of({"_id": "1", "title": "A survey of cats", "text": ""}) == "A survey of cats"


@pytest.mark.parametrize("document", [{"id": "d1"}, {"id": "d1", "abstract": "on cats"}, {"id": "d1", "title": "T"}])
def test_a_missing_field_is_no_text(document):
    assert text_of(document) is None


def test_a_document_without_any_field_is_no_text_and_not_a_brace():
    assert text_of("{}") is None
    assert text_of(" {\n} ") is None


def test_null_is_no_text_and_the_next_field_counts():
    assert text_of({"id": "d1", "contents": None}) is None
    assert text_of({"id": "d1", "contents": None, "text": "the other"}) == "the other"
    assert text_of({"_id": "d1", "title": None, "text": "a text"}) == "a text"


def test_a_list_of_strings_is_joined():
    assert text_of({"id": "d1", "contents": ["one", "two", "three"]}) == "one two three"
    assert text_of({"id": "d1", "title": ["A", "title"], "text": ["and", "text"]}) == "A title and text"
    assert text_of({"id": "d1", "contents": []}) == ""


@pytest.mark.parametrize("value", [7, 1.5, True, {"en": "text"}, ["one", 2], [["nested"]], [None]])
@pytest.mark.parametrize("field", ["contents", "text"])
def test_what_is_no_text_is_an_error_that_names_the_field(field, value):
    with pytest.raises(ValueError, match=rf"field '{field}' is a {type(value).__name__}, not text: pass texts=Templ"):
        text_of({"id": "d1", field: value})


def test_a_title_that_is_no_text_is_an_error_too():
    with pytest.raises(ValueError, match="field 'title' is a int"):
        text_of({"_id": "d1", "title": 1984, "text": "a text"})


@pytest.mark.parametrize(
    "raw",
    ['{"id": "d1", "contents": "cut o', '{"id": "d1" "contents": "x"}', '{"id": "d1"} and more', '{"he said" quietly}'],
)
def test_broken_json_is_an_error_of_one_line(raw):
    with pytest.raises(ValueError, match="does not parse .*index it again, or pass texts=") as error:
        text_of(raw)
    assert len(str(error.value).splitlines()) == 1
    assert error.value.__suppress_context__


@pytest.mark.parametrize("raw", ['{"id":"1","contents":"x"}', '\n { "id" : "1" , "contents" : "x" }'])
def test_json_is_told_by_its_first_characters(raw):
    assert text_of(raw) == "x"


def test_control_characters_that_json_does_not_allow():
    # Jackson escapes them; a raw written by hand with a bare newline in a string is broken JSON, not half a passage.
    assert text_of('{"id":"1","contents":"a\\u0000b\\nc"}') == "a\0b\nc"
    with pytest.raises(ValueError, match="does not parse"):
        text_of('{"id":"1","contents":"a\nb"}')


def test_lone_surrogate_escapes_are_read_and_pairs_are_joined():
    # The text may hold half a pair here; retrieval.texts replaces it (test_texts.py).
    assert text_of('{"id":"1","contents":"a \\ud83d\\ude3a b"}') == "a 😺 b"
    assert text_of('{"id":"1","contents":"a \\ud83d b"}') == "a \ud83d b"


# ----------------------------------------------------------------------------------------------------------- Template

ARTICLE = {"id": "a1", "title": "On fleas", "abstract": "They jump.", "keywords": ["flea", "cat"], "year": 1999}


def fill(template, document):
    return Template(template)({"raw": json.dumps(document)})


def test_template():
    assert fill("{title}. {abstract}", ARTICLE) == "On fleas. They jump."


def test_template_with_text_around_and_braces():
    assert fill("Title: {title} {{{id}}}", ARTICLE) == "Title: On fleas {a1}"


def test_template_uses_a_field_twice_and_a_format():
    assert fill("{title} {title:.2} {title!r}", ARTICLE) == "On fleas On 'On fleas'"


def test_template_joins_lists():
    assert fill("{keywords}", ARTICLE) == "flea cat"


@pytest.mark.parametrize("document", [{"title": "On fleas"}, {"title": "On fleas", "abstract": None}])
def test_template_with_one_field_missing_or_null(document):
    assert fill("{title} {abstract}", document) == "On fleas"


def test_template_with_all_fields_missing_names_both_lists():
    with pytest.raises(ValueError, match=r"none of the template's fields \['body', 'head'\].* own are \['abstract',"):
        fill("{body}{head}", ARTICLE)


def test_template_with_all_fields_null_or_empty_is_an_empty_document():
    assert fill("{title} {abstract}", {"title": None, "abstract": ""}) == ""


def test_template_does_not_read_text_inside_text():
    assert fill("{title}", {"title": "{abstract} {0} {"}) == "{abstract} {0} {"


@pytest.mark.parametrize("template", ["", "no field", "{{title}}"])
def test_template_without_a_field(template):
    with pytest.raises(ValueError, match="names no field: write it as in '{title} {abstract}'"):
        Template(template)


@pytest.mark.parametrize("template", ["{title} {}", "{0}", "{title.upper}", "{title[0]}"])
def test_template_with_what_is_no_field_name_is_refused_at_once(template):
    # At the first document it would be an IndexError, a KeyError, or half a text.
    with pytest.raises(ValueError, match="template"):
        Template(template)


def test_template_that_does_not_parse():
    with pytest.raises(ValueError):
        Template("{title")


def test_template_wants_json():
    with pytest.raises(ValueError, match="does not parse"):
        Template("{title}")({"raw": "just text"})
    with pytest.raises(ValueError, match="is a list, not an object"):
        Template("{title}")({"raw": '["title"]'})


def test_template_on_a_field_that_is_no_text():
    with pytest.raises(ValueError, match="field 'year' is a int"):
        fill("{title} {year}", ARTICLE)


def test_template_on_a_document_that_stores_no_raw():
    assert Template("{title}")({"id": "a1", "contents": "On fleas"}) is None


@pytest.mark.parametrize(
    "template", ["{", "{title", "{title!x}", "{title:d}", "{title:{width}}", "{title.a}", "{title[a]}"]
)
def test_a_template_that_cannot_be_filled_in(template: str) -> None:
    with pytest.raises(ValueError, match="the template .* cannot be filled in: ") as error:
        Template(template)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("template", [None, 7, b"{title}", ["title"]])
def test_a_template_that_is_no_string(template: object) -> None:
    with pytest.raises(TypeError, match="the template is a .*: write a string such as '{title}'"):
        Template(template)  # type: ignore[arg-type]
