package appdef

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
)

// form is the type that strictly typed clients want a member to have. Numbers in quotes, booleans in quotes and the like are turned
// into it; what cannot be is left out.
type form struct {
	kind formKind
	// members are those of an object that have a form; others stay as they are. each is the form of all members.
	members map[string]form
	each    *form
}

type formKind int

const (
	asIs formKind = iota
	asText
	asFlag
	asWhole
	asList
	asObject
)

// The forms. Numbers that the documentation gives as numbers and that clients want as texts are texts: size, step and price.
var (
	aText, aFlag, aWhole, aList = form{kind: asText}, form{kind: asFlag}, form{kind: asWhole}, form{kind: asList}

	variableForm = form{kind: asObject, members: map[string]form{
		"name": aText, "description": aText, "userowned": aFlag, "inherit": aFlag, "required": aFlag,
	}}
	parameterForm = form{kind: asObject, members: map[string]form{
		"name": aText, "description": aText, "type": aText, "filter": aText, "size": aText, "step": aText, "target": aText,
		"positional": aFlag, "required": aFlag, "variable": aFlag, "cmdscript": aFlag,
		"values": aList, "mvalues": aList, "if": aList, "ifnot": aList,
	}}
	commandForm = form{kind: asObject, members: map[string]form{
		"name": aText, "description": aText, "path": aText, "cmdscript": aText, "url": aText, "walltime": aText,
		"desktop": aFlag, "interactive": aFlag, "mpirun": aFlag, "noconnect": aFlag, "noqueue": aFlag, "publicip": aFlag,
		"verboseinit": aFlag, "webshell": aFlag, "machines": aList, "ports": aList, "scale_max": aWhole,
		"parameters": {kind: asObject, each: &parameterForm}, "variables": {kind: asObject, each: &variableForm},
	}}
	appForm = form{kind: asObject, members: map[string]form{
		"name": aText, "description": aText, "author": aText, "id": aText, "nae": aText, "owner": aText, "price": aText,
		"walltime": aText, "appdefversion": aWhole, "scale_max": aWhole, "certified": aFlag, "enablehpc": aFlag, "licensed": aFlag,
		"public": aFlag, "team": aFlag, "classifications": aList, "machines": aList, "vault-types": aList,
		"commands": {kind: asObject, each: &commandForm}, "variables": {kind: asObject, each: &variableForm},
		"identity": {kind: asObject, members: map[string]form{"username": aText, "group": aText, "uid": aWhole, "gid": aWhole}},
		"image":    {kind: asObject, members: map[string]form{"data": aText, "type": aText}},
	}}
)

// Wire returns the AppDef as listings of applications show it: the members of the file in its order, with the types that strictly
// typed clients insist on. It fails for an AppDef that Parse has not made.
func (a *AppDef) Wire() ([]byte, error) {
	if a.root.kind != kindObject {
		return nil, errors.New("appdef: wire form of an AppDef that was not parsed")
	}
	var out bytes.Buffer
	out.Grow(len(a.JSON))
	appForm.write(&out, a.root)
	return out.Bytes(), nil
}

// write appends a value in this form; nothing, and false, when it cannot have it.
func (f form) write(out *bytes.Buffer, v value) bool {
	switch f.kind {
	case asText:
		s, ok := v.scalar()
		return ok && writeText(out, v, s)
	case asFlag:
		b, ok := v.bool()
		if ok {
			out.WriteString(strconv.FormatBool(b))
		}
		return ok
	case asWhole:
		s, _ := v.scalar()
		n, ok := parseFloat(s)
		if ok = ok && n == math.Trunc(n) && math.Abs(n) <= math.MaxInt32; ok {
			out.WriteString(strconv.Itoa(int(n)))
		}
		return ok
	case asList:
		return writeList(out, v)
	case asObject:
		return f.writeObject(out, v)
	default:
		out.Write(v.raw)
		return true
	}
}

func writeText(out *bytes.Buffer, v value, s string) bool {
	if v.kind == kindText {
		out.Write(v.raw)
		return true
	}
	quoted, err := json.Marshal(s)
	out.Write(quoted)
	return err == nil
}

func writeList(out *bytes.Buffer, v value) bool {
	items := v.items
	if _, ok := v.scalar(); ok {
		items = []value{v}
	} else if v.kind != kindList {
		return false
	}
	out.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			out.WriteByte(',')
		}
		if !aText.write(out, item) {
			out.WriteString(`""`)
		}
	}
	out.WriteByte(']')
	return true
}

func (f form) writeObject(out *bytes.Buffer, v value) bool {
	if v.kind != kindObject {
		return false
	}
	out.WriteByte('{')
	first := true
	for _, m := range v.members {
		inner, known := f.members[m.key]
		if f.each != nil {
			inner, known = *f.each, true
		}
		if known && m.kind == kindNull {
			continue // a typed client knows what is absent better than what is null
		}
		start := out.Len()
		if !first {
			out.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil { // a string always has a JSON form
			return false
		}
		out.Write(key)
		out.WriteByte(':')
		if !inner.write(out, m.value) {
			out.Truncate(start)
			continue
		}
		first = false
	}
	out.WriteByte('}')
	return true
}
