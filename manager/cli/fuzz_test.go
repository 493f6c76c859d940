package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

func FuzzReadMessages(f *testing.F) {
	for _, s := range []string{
		"retry: 1000\n\nid: 4\nevent: rollout.step\ndata: {\"a\":1}\n\n", ":\n\n", "data: a\ndata: b\n\n", "data: half", "id: 1\r\ndata:x\r\n\r\n", "data\n\n", "\n\n\n", "id: a\x00b\ndata: 1\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		var whole []message
		err := readMessages(strings.NewReader(string(stream)), func(m message) error { whole = append(whole, m); return nil })
		if err != nil && !errors.Is(err, errLineTooLong) {
			t.Errorf("%q: %v", stream, err)
		}
		// However the stream is cut into pieces, the events are the same.
		var bytewise []message
		_ = readMessages(&drip{text: string(stream)}, func(m message) error { bytewise = append(bytewise, m); return nil })
		if fmt.Sprint(whole) != fmt.Sprint(bytewise) {
			t.Errorf("%q: whole %v, byte by byte %v", stream, whole, bytewise)
		}
	})
}

// drip gives a byte at a time.
type drip struct{ text string }

func (d *drip) Read(b []byte) (int, error) {
	n, err := strings.NewReader(d.text).Read(b[:min(1, len(b))])
	d.text = d.text[n:]
	return n, err
}

func TestReadMessages(t *testing.T) {
	for _, row := range []struct{ name, stream, want string }{
		{"an event", "id: 4\nevent: a\ndata: x\n\n", `[{4 a x}]`},
		{"several lines of data", "data: x\ndata: y\n\n", "[{  x\ny}]"},
		{"an id holds until there is another", "id: 4\ndata: x\n\ndata: y\n\n", `[{4  x} {4  y}]`},
		{"comments and unknown fields", ": beat\nretry: 5\nfoo: bar\n\ndata: x\n\n", `[{  x}]`},
		{"half an event at the end", "data: x\n\nid: 5\ndata: y\n", `[{  x}]`},
		{"an event without data", "event: a\n\n", `[]`},
	} {
		var got []message
		if err := readMessages(strings.NewReader(row.stream), func(m message) error { got = append(got, m); return nil }); err != nil || fmt.Sprint(got) != row.want {
			t.Errorf("%s: %v (%v), want %s", row.name, got, err, row.want)
		}
	}
	if err := readMessages(strings.NewReader("data: "+strings.Repeat("x", lineLimit)), func(message) error { return nil }); !errors.Is(err, errLineTooLong) {
		t.Errorf("an endless line: %v", err)
	}
}

func FuzzReadImages(f *testing.F) {
	for _, s := range []string{"web=registry.example/web:1", "registry.example/web", "=", "a=b=c", "web=", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		asked, problem := readImages([]string{s})
		if problem != "" {
			return
		}
		for service, image := range asked {
			if len(asked) != 1 || image == "" || s != image && s != string(service)+"="+image {
				t.Errorf("%q is read as %v", s, asked)
			}
		}
	})
}

func FuzzReadCount(f *testing.F) {
	for _, s := range []string{"web=3", "web=file", "web", "=3", "web=-1", "web=3=4", "web=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		service, n, ok := readCount(s)
		if !ok {
			return
		}
		if service == "" || n == nil && s != service+"=file" || n != nil && !strings.HasPrefix(s, service+"=") {
			t.Errorf("%q is read as %q %v", s, service, n)
		}
	})
}

// FuzzToYAML holds what is printed as YAML against the JSON it was made of.
func FuzzToYAML(f *testing.F) {
	for _, s := range []string{`{"a":"1","b":[true,null,"true","null","~","1e3","0x1","2026-11-24"],"c":{"d":"x: y\n# z\n"}}`, `[]`, `{"":"","a b":"\u0000\ud83d\ude00"}`, `"  lines\n and\n\n spaces \n"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want any
		if !json.Valid([]byte(s)) || yaml.Unmarshal([]byte(s), &want) != nil {
			return // what JSON allows and YAML does not comes from no manager: control characters, a key twice
		}
		text, err := toYAML([]byte(s))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		var got any
		if err := yaml.Unmarshal(text, &got); err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
			t.Errorf("%s became\n%s\nwhich means %#v (%v), want %#v", s, text, got, err, want)
		}
	})
}
