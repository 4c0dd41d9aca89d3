"""Prints the public interface of a crate, a line for each thing in it, from rustdoc's JSON (the argument).

Sorted, and without what may change freely: documentation, private fields, the order of things. Signatures are near to Rust,
not exactly Rust; they have to be the same from run to run, and another when the interface is another.
"""

import json
import sys

FORMAT = 57  # the one that this was written for; others may have other names for things

crate = json.load(open(sys.argv[1]))
if crate["format_version"] != FORMAT:
    print(f"rustdoc's JSON has format {crate['format_version']}, and this reads {FORMAT}")
    sys.exit(3)
index = crate["index"]
lines = set()


def item(number):
    return index.get(str(number))


def args(given):
    if not given:
        return ""
    kind, value = next(iter(given.items()))
    if kind == "parenthesized":
        output = f" -> {ty(value['output'])}" if value["output"] else ""
        return f"({', '.join(map(ty, value['inputs']))}){output}"
    if kind != "angle_bracketed":
        return "::" + json.dumps(given, sort_keys=True)
    parts = [ty(arg[k]) if (k := next(iter(arg))) == "type" else str(arg[k]) for arg in value["args"]]
    for constraint in value["constraints"]:
        (how, what), = constraint["binding"].items()
        what = ty(what["type"]) if how == "equality" and "type" in what else bounds(what) if how == "constraint" else what
        parts.append(f"{constraint['name']}{' =' if how == 'equality' else ':'} {what}")
    return f"<{', '.join(parts)}>" if parts else ""


def ty(t):
    if t is None:
        return "()"
    if isinstance(t, str):
        return "_"
    (kind, v), = t.items()
    match kind:
        case "resolved_path":
            return v["path"] + args(v["args"])
        case "generic" | "primitive":
            return v
        case "tuple":
            return f"({', '.join(map(ty, v))})"
        case "slice":
            return f"[{ty(v)}]"
        case "array":
            return f"[{ty(v['type'])}; {v['len']}]"
        case "borrowed_ref":
            life = f"{v['lifetime']} " if v["lifetime"] else ""
            return f"&{life}{'mut ' if v['is_mutable'] else ''}{ty(v['type'])}"
        case "raw_pointer":
            return f"*{'mut' if v['is_mutable'] else 'const'} {ty(v['type'])}"
        case "impl_trait":
            return f"impl {bounds(v)}"
        case "dyn_trait":
            traits = [each["trait"]["path"] + args(each["trait"]["args"]) for each in v["traits"]]
            return "dyn " + " + ".join(traits + ([v["lifetime"]] if v["lifetime"] else []))
        case "qualified_path":
            of = f"{ty(v['self_type'])} as {v['trait']['path']}" if v["trait"] and v["trait"]["path"] else ty(v["self_type"])
            return f"<{of}>::{v['name']}"
        case "function_pointer":
            return "fn" + signature(v["sig"])
        case _:  # rare; exact all the same
            return json.dumps(t, sort_keys=True)


def bounds(given):
    names = []
    for bound in given:
        (kind, v), = bound.items()
        if kind == "trait_bound":
            names.append(("?" if v["modifier"] == "maybe" else "") + v["trait"]["path"] + args(v["trait"]["args"]))
        else:
            names.append(str(v))
    return " + ".join(sorted(names))


def generics(g):
    shown, where = [], []
    for param in g["params"]:
        (kind, v), = param["kind"].items()
        if kind == "type" and v["is_synthetic"]:
            continue  # `impl Trait` among the arguments
        if kind == "type":
            default = f" = {ty(v['default'])}" if v["default"] else ""
            shown.append(param["name"] + (f": {bounds(v['bounds'])}" if v["bounds"] else "") + default)
        else:
            shown.append(param["name"] if kind == "lifetime" else f"const {param['name']}: {ty(v['type'])}")
    for predicate in g["where_predicates"]:
        (kind, v), = predicate.items()
        where.append(f"{ty(v['type'])}: {bounds(v['bounds'])}" if kind == "bound_predicate" else json.dumps(v, sort_keys=True))
    return f"<{', '.join(shown)}>" if shown else "", f" where {', '.join(sorted(where))}" if where else ""


def signature(sig):
    inputs = ", ".join(("self: " if name == "self" else "") + ty(t) for name, t in sig["inputs"])
    return f"({inputs})" + (f" -> {ty(sig['output'])}" if sig["output"] else "")


def function(path, f, attributes):
    shown, where = generics(f["generics"])
    header = f["header"]
    words = "".join(f"{word} " for word in ("const", "async", "unsafe") if header[f"is_{word}"])
    # Whoever does not use the result is warned: not a promise, but seen by all.
    must = "#[must_use] " if any("must_use" in str(a) for a in attributes) else ""
    lines.add(f"{path}: {must}{words}fn{shown}{signature(f['sig'])}{where}")


# What the compiler keeps for itself.
INTERNAL = {"StructuralPartialEq", "Freeze", "UnsafeUnpin"}


def implemented(path, impls):
    traits = {}
    for i in (found["inner"]["impl"] for found in map(item, impls) if found):
        if i["blanket_impl"]:
            continue
        shown, where = generics(i["generics"])
        if not i["trait"]:
            for member in filter(None, map(item, i["items"])):
                if member["visibility"] == "public":
                    visit(member, path + shown + where)
        elif i["trait"]["path"] not in INTERNAL:
            plain = ("!" if i["is_negative"] else "") + i["trait"]["path"] + args(i["trait"]["args"])
            traits.setdefault((shown, ty(i["for"]), where), set()).add(plain)
    for (shown, whom, where), names in traits.items():
        lines.add(f"{path}: impl{shown} {' + '.join(sorted(names))} for {whom}{where}")


def fields(path, numbers):
    for number in numbers:
        field = item(number) if number is not None else None
        if field and field["visibility"] in ("public", "default"):
            lines.add(f"{path}.{field['name']}: {ty(field['inner']['struct_field'])}")


def visit(thing, parent, name=None):
    (kind, v), = thing["inner"].items()
    path = f"{parent}::{name or thing['name']}" if parent else thing["name"]
    open_ended = " #[non_exhaustive]" if "non_exhaustive" in thing["attrs"] else ""
    match kind:
        case "module":
            lines.add(f"{path}: mod")
            for number in v["items"]:
                child = item(number)
                if child and child["visibility"] == "public":
                    visit(child, path)
        case "use":
            target = item(v["id"]) if v["id"] is not None else None
            if target is None:
                lines.add(f"{parent}::{v['name']}: use {v['source']}")
            elif v["is_glob"]:
                for number in target["inner"]["module"]["items"]:
                    visit(item(number), parent)
            else:
                visit(target, parent, v["name"])
        case "struct" | "union":
            shown, where = generics(v["generics"])
            form = v["kind"] if kind == "struct" else {}
            shape = form if isinstance(form, str) else next(iter(form), "")
            closed = isinstance(form, dict) and "plain" in form and form["plain"]["has_stripped_fields"]
            lines.add(f"{path}: {kind}{shown}{where}{open_ended} {shape}{', private fields' if closed else ''}")
            if isinstance(form, dict):
                fields(path, form["plain"]["fields"] if "plain" in form else form.get("tuple", []))
            implemented(path, v["impls"])
        case "enum":
            shown, where = generics(v["generics"])
            lines.add(f"{path}: enum{shown}{where}{open_ended}")
            for number in v["variants"]:
                variant = item(number)
                form = variant["inner"]["variant"]["kind"]
                shape = form if isinstance(form, str) else next(iter(form))
                more = " #[non_exhaustive]" if "non_exhaustive" in variant["attrs"] else ""
                lines.add(f"{path}::{variant['name']}: variant {shape}{more}")
                if isinstance(form, dict):
                    fields(f"{path}::{variant['name']}", form["tuple"] if "tuple" in form else form["struct"]["fields"])
            implemented(path, v["impls"])
        case "trait":
            shown, where = generics(v["generics"])
            above = f": {bounds(v['bounds'])}" if v["bounds"] else ""
            lines.add(f"{path}: {'unsafe ' if v['is_unsafe'] else ''}trait{shown}{above}{where}")
            for member in filter(None, map(item, v["items"])):
                visit(member, path)
                if member["inner"].get("function", {}).get("has_body"):
                    lines.add(f"{path}::{member['name']}: provided")
            for i in filter(None, map(item, v["implementations"])):
                lines.add(f"{path}: for {ty(i['inner']['impl']['for'])}")
        case "function":
            function(path, v, thing["attrs"])
        case "constant":
            lines.add(f"{path}: const {ty(v['type'])}")
        case "assoc_const":
            lines.add(f"{path}: const {ty(v['type'])}")
        case "static":
            lines.add(f"{path}: static {'mut ' if v['is_mutable'] else ''}{ty(v['type'])}")
        case "type_alias":
            shown, where = generics(v["generics"])
            lines.add(f"{path}: type{shown} = {ty(v['type'])}{where}")
        case "assoc_type":
            lines.add(f"{path}: type: {bounds(v['bounds'])} = {ty(v['type']) if v['type'] else '_'}")
        case _:
            lines.add(f"{path}: {kind}")


visit(item(crate["root"]), None)
print("\n".join(sorted(lines)))
