import json
import re
import unicodedata


def slug(input_data, ctx):
    plain = unicodedata.normalize("NFKD", input_data["text"]).encode("ascii", "ignore").decode()
    name = "-".join(re.findall("[a-z0-9]+", plain.lower()))
    if not name:
        raise ctx.errors.InvalidInput("`text` has no letter and no digit")
    return {"slug": name}


def format_entry(input_data):
    message = " ".join(input_data["message"].split())
    fields = "".join(f" {key}={json.dumps(value)}" for key, value in input_data.get("fields", {}).items())
    return {"line": f"{input_data['level']} {message}{fields}"}
