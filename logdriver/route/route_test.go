package route

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

var limits = Limits{SpoolMax: 64 << 20, Whole: 1 << 30}

func TestLanesFollowLabels(t *testing.T) {
	swarm := map[string]string{
		"com.docker.stack.namespace": "shop-production", "com.docker.swarm.service.name": "shop-production_web",
		"com.docker.swarm.task.name": "shop-production_web.3.abcdef", "com.docker.swarm.task.id": "abcdef", "com.docker.swarm.node.id": "node1",
	}
	rolling := maps.Clone(swarm)
	maps.Copy(rolling, map[string]string{"rolling.project": "shop", "rolling.environment": "production", "rolling.service": "web", "rolling.release": "r7"})
	global := maps.Clone(swarm)
	global["com.docker.swarm.task.name"] = "shop-production_web.node1.abcdef"
	for name, c := range map[string]struct {
		labels  map[string]string
		options map[string]string
		want    string // topic key project environment service slot release
	}{
		"a container of docker run":                       {nil, nil, "none.none.none 0123456789ab none none none  "},
		"a stack without labels":                          {swarm, nil, "shop-production.none.web 0123456789ab shop-production none web 3 "},
		"what the manager made":                           {rolling, nil, "shop.production.web 0123456789ab shop production web 3 r7"},
		"a global service's slot is its host":             {global, nil, "shop-production.none.web 0123456789ab shop-production none web n1_example "},
		"compose":                                         {map[string]string{"com.docker.compose.project": "dev", "com.docker.compose.service": "db", "com.docker.compose.container-number": "1"}, nil, "dev.none.db 0123456789ab dev none db 1 "},
		"a topic of its own":                              {rolling, map[string]string{"topic": "logs.{{.Service}}.{{.Node}}", "key": "{{.Slot}}"}, "logs.web.n1.example 3 shop production web 3 r7"},
		"characters that Kafka does not take":             {map[string]string{"rolling.project": "bücher & co"}, nil, "b_cher___co.none.none 0123456789ab bücher & co none none  "},
		"a label in the topic, and one that is not there": {map[string]string{"team": "a"}, map[string]string{"topic": `x-{{.Labels.team}}-{{.Labels.nobody}}`}, "x-a- 0123456789ab none none none  "},
		"a condition":                                     {rolling, map[string]string{"topic": `{{if .Release}}released{{else}}by-hand{{end}}`}, "released 0123456789ab shop production web 3 r7"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Plan(Container{ID: "0123456789abcdef", Name: "/x", Labels: c.labels, Options: c.options}, Node{Host: "n1.example"}, limits)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join([]string{l.Topic, l.Key, l.Project, l.Environment, l.Service, l.Slot, l.Release}, " ")
			if got != c.want {
				t.Fatalf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestOnlyNamedVariablesAreKept(t *testing.T) {
	l, err := Plan(Container{
		ID: "0123456789abcdef", Name: "/x", ImageID: "sha256:feedfeedfeedfeed", Labels: map[string]string{"team": "a", "tier": "b", "other": "c"},
		Env:     []string{"PASSWORD=secret", "ZONE=z1", "APP_A=1", "broken"},
		Options: map[string]string{"labels": "team,absent", "labels-regex": "^ti", "env": "ZONE", "env-regex": "^APP_", "tag": "{{.Name}}/{{.ImageID}}", "mode": "non-blocking", "max-buffer-size": "4m"},
	}, Node{}, limits)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	want := `"attributes":[{"Name":"APP_A","Value":"1"},{"Name":"ZONE","Value":"z1"},{"Name":"tag","Value":"x/feedfeedfeed"},{"Name":"team","Value":"a"},{"Name":"tier","Value":"b"}]`
	if !strings.Contains(string(text), want) || strings.Contains(string(text), "secret") {
		t.Fatalf("got %s", text)
	}
}

func TestAllBadOptionsAreNamedTogether(t *testing.T) {
	_, err := Plan(Container{ID: "x", Options: map[string]string{
		"topik": "x", "format": "jsn", "on-full": "drop", "spool-max": "1k", "max-line": "1g", "multiline-start": "(", "topic": "{{.Servce}}-{{.X}}", "key": "{{", "tag": "{{.ImgeID}}", "mode": "nonblocking", "max-buffer-size": "much", "labels-regex": "[",
	}}, Node{}, limits)
	if err == nil {
		t.Fatal("accepted")
	}
	want := `log options: 12 problems
  format: "jsn": want raw, json; did you mean "json"?
  key: "{{": :1: unclosed action
  labels-regex: "[" is not a regular expression: error parsing regexp: missing closing ]: ` + "`[`" + `
  max-buffer-size: "much" is not a size: want a number with k, m or g, such as 64m
  max-line: "1g": want 1k to 16m
  mode: "nonblocking": want blocking, non-blocking; did you mean "non-blocking"?
  multiline-start: "(" is not a regular expression: error parsing regexp: missing closing ): ` + "`(`" + `
  on-full: "drop": want drop-oldest, drop-newest, block
  spool-max: "1k": want 1m to 1073741824 (the bound of the whole spool)
  tag: "{{.ImgeID}}": {{.ImgeID}} is unknown; did you mean "ImageID"? (known: ID, FullID, Name, ImageID, ImageFullID, ImageName, DaemonName)
  topic: "{{.Servce}}-{{.X}}": {{.Servce}} is unknown; did you mean "Service"?; {{.X}} is unknown (known: Project, Environment, Service, Slot, Release, Node, Cluster, Container, Name, Labels)
  topik: is not a log option of rolling/log; did you mean "topic"?`
	if err.Error() != want {
		t.Fatalf("got\n%v\nwant\n%s", err, want)
	}
}

func TestTheEnvelopeIsJSON(t *testing.T) {
	l := Lane{Container: "0123456789abcdef", Name: "x", Project: `a"b`, Format: JSON, Attributes: []Attribute{{"team", "ä"}}}
	for _, line := range []string{"", "plain", "quote \" and \\ and \n\t\r\x01", "日本", "broken \xff\xfe end", strings.Repeat("x", 1000)} {
		b := l.AppendValue(nil, "stderr", 7, 1_500_000_000_123_456_789, []byte(line))
		var got struct {
			TS, Stream, Project, Container, Line string
			Seq                                  uint64
			Attrs                                map[string]string
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if got.Line != strings.ToValidUTF8(strings.ReplaceAll(line, "\xff\xfe", "\ufffd\ufffd"), "?") || got.Seq != 7 || got.Stream != "stderr" || got.Project != `a"b` ||
			got.TS != "2017-07-14T02:40:00.123456789Z" || got.Container != "0123456789ab" || got.Attrs["team"] != "ä" {
			t.Fatalf("%q became %s", line, b)
		}
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("topic", "{{.Project}}-{{with .Labels}}{{.x}}{{end}}")
	f.Add("spool-max", "9223372036854775807t")
	f.Add("multiline-start", "^\\d")
	f.Add("tag", "{{printf \"%s\" .Name}}")
	f.Fuzz(func(t *testing.T, name, value string) {
		l, err := Plan(Container{ID: "0123456789abcdef", Name: "/x", Options: map[string]string{name: value}}, Node{Host: "n"}, limits)
		if err != nil {
			return
		}
		if l.Topic == "" || len(l.Topic) > 249 || l.Topic != CleanTopic(l.Topic) || l.SpoolMax < LeastSpool || l.SpoolMax > limits.Whole || l.MaxLine < 1 {
			t.Fatalf("got %+v", l)
		}
	})
}

func FuzzQuoted(f *testing.F) {
	f.Add([]byte("a\"\xff\u2028"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got string
		if err := json.Unmarshal(appendQuoted(nil, b), &got); err != nil || utf8.Valid(b) && got != string(b) {
			t.Fatalf("%q became %q, %v", b, got, err)
		}
	})
}
