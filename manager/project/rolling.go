package project

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

var (
	// Project and environment names become parts of DNS names, Graphite paths and Kafka topics: lower case, no dots.
	labelPattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	objectPattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$`) // what Swarm takes
	clockPattern  = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$`)
	datePattern   = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

const (
	wantLabel  = "lower-case letters, digits and hyphens"
	wantObject = "letters, digits, hyphens and underscores, no dots"
)

func nameOf(want string, pattern *regexp.Regexp) func(w *walk, at, name string) {
	return func(w *walk, at, name string) {
		if !pattern.MatchString(name) {
			w.say(at, "%q: want a name of %s", name, want)
		}
	}
}

// rolling is the key x-rolling.
func rolling(w *walk, at string, n *yaml.Node) {
	object(keys{
		"project":      matching("a name of "+wantLabel, labelPattern),
		"source":       object(keys{"repository": word(), "dockerfile": word()}, nil),
		"environments": named(nameOf(wantLabel, labelPattern), environment),
	}, nil)(w, at, n)
	if n.Kind != yaml.MappingNode {
		return
	}
	if child(n, "project") == nil {
		w.say(at+".project", "want the project's name")
	}
	environments := child(n, "environments")
	if environments == nil || environments.Kind == yaml.MappingNode && len(environments.Content) == 0 {
		w.say(at+".environments", "want one environment at least")
		return
	}
	firstStage(w, at+".environments", environments)
}

// firstStage refuses a way to users that leads through nothing.
func firstStage(w *walk, at string, n *yaml.Node) {
	var public, before string
	for name, e := range entries(n) {
		switch stage := scalarOf(child(e, "stage")); {
		case stage == Production.String(), stage == Grey.String() && public == "":
			public = name
		case slices.Contains(stageNames(), stage) && stage != Grey.String():
			before = name
		}
	}
	if public != "" && before == "" {
		w.say(join(at, public), "no environment of an earlier stage (isolated, test, pre-release): nothing would prove a release before users meet it")
	}
}

func environment(w *walk, at string, n *yaml.Node) {
	object(keys{
		"stage":     oneOf("stage", stageNames()...),
		"approvals": whole(0, 20),
		"freeze":    listOf(freeze),
		"rollout":   rollout,
		"services":  named(nil, orNothing(service())),
		"networks":  named(referTo("networks"), orNothing(network())),
	}, nil)(w, at, n)
	if n.Kind == yaml.MappingNode && child(n, "stage") == nil {
		w.say(at+".stage", "want a stage (%s)", strings.Join(stageNames(), ", "))
	}
	for name, s := range entries(child(n, "services")) {
		path := at + ".services." + name
		if !slices.Contains(w.declared["services"], name) && child(s, "image") == nil {
			w.say(path, "no service of this file%s (a service of one environment alone needs an image)", meant(name, w.declared["services"]))
		}
		nameOf(wantObject, objectPattern)(w, path, name)
	}
}

func freeze(w *walk, at string, n *yaml.Node) {
	object(keys{
		"days":   value(strTag, "days such as mon-fri or sat,sun", func(s string) string { _, text := days(s); return text }),
		"from":   matching(`a time such as "09:15"`, clockPattern),
		"to":     matching(`a time such as "15:05"`, clockPattern),
		"zone":   zone,
		"except": listOf(date),
	}, nil)(w, at, n)
	if n.Kind != yaml.MappingNode {
		return
	}
	for _, key := range []string{"days", "from", "to", "zone"} {
		if child(n, key) == nil {
			w.say(join(at, key), "a freeze window needs it")
		}
	}
	if from, to := scalarOf(child(n, "from")), scalarOf(child(n, "to")); from != "" && from == to {
		w.say(join(at, "to"), "the window is empty: it ends when it begins")
	}
}

func zone(w *walk, at string, n *yaml.Node) {
	value(strTag, "a time zone such as Asia/Shanghai", func(s string) string {
		if s == "" || s == "Local" { // both would mean the zone of the machine that reads the file
			return "want a time zone such as Asia/Shanghai, or UTC"
		}
		if _, err := w.zone(s); err != nil {
			return fmt.Sprintf("%q is not a time zone known here (want one such as Asia/Shanghai)", s)
		}
		return ""
	})(w, at, n)
}

func date(w *walk, at string, n *yaml.Node) {
	value(strTag, "a date such as 2026-10-01", func(s string) string {
		if _, err := time.Parse(time.DateOnly, s); err != nil || !datePattern.MatchString(s) {
			return fmt.Sprintf("%q: want a date such as 2026-10-01", s)
		}
		return ""
	})(w, at, n)
}

// days reads "mon-fri,sun". A range may pass the end of the week.
func days(s string) (set [7]bool, problem string) {
	names := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, b := slices.Index(names, from), slices.Index(names, to)
		if a < 0 || b < 0 {
			return set, fmt.Sprintf("%q: want days such as mon-fri or sat,sun", s)
		}
		for d := a; ; d = (d + 1) % 7 {
			set[d] = true
			if d == b {
				break
			}
		}
	}
	return set, ""
}

func rollout(w *walk, at string, n *yaml.Node) {
	object(keys{
		"batches":    listOf(batch),
		"pause":      oneOf("pause", string(PauseNever), string(PauseAfterFirst), string(PauseAfterEach)),
		"deadline":   span(10*time.Second, 24*time.Hour),
		"on-failure": oneOf("answer to a failure", string(OnFailureRollback), string(OnFailurePause)),
	}, nil)(w, at, n)
	list := child(n, "batches")
	if p := scalarOf(child(n, "pause")); (list == nil || len(list.Content) < 2) && p != "" && p != string(PauseNever) {
		w.say(join(at, "pause"), "there is nothing to pause between: want two batches at least")
	}
	if list == nil || list.Kind != yaml.SequenceNode {
		return
	}
	var last Batch
	for i, item := range list.Content {
		b, err := parseBatch(scalarOf(item))
		if err != nil {
			return
		}
		if b.Count > 0 && last.Percent > 0 {
			w.say(fmt.Sprintf("%s.batches[%d]", at, i), "%s: a count after a share cannot be compared; want a share", item.Value)
		} else if b.Count > 0 && b.Count <= last.Count || b.Percent > 0 && b.Percent <= last.Percent {
			w.say(fmt.Sprintf("%s.batches[%d]", at, i), "%s: batches are rising totals, and this one is not above the one before", item.Value)
		}
		last = b
	}
	if last.Percent != 100 {
		w.say(join(at, "batches"), `want "100%%" last: batches are rising totals`)
	}
}

func batch(w *walk, at string, n *yaml.Node) {
	value([]string{"!!int", "!!str"}, `a number of tasks or a share such as "25%"`, func(s string) string {
		if _, err := parseBatch(s); err != nil {
			return err.Error()
		}
		return ""
	})(w, at, n)
}

func parseBatch(s string) (Batch, error) {
	digits, share := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || share && n > 100 {
		return Batch{}, fmt.Errorf("%s: want 1 or more, or a share from 1%% to 100%%", s)
	}
	if share {
		return Batch{Percent: n}, nil
	}
	return Batch{Count: n}, nil
}

// read turns a checked x-rolling into values. The models of the environments come later.
func (w *walk) read(n *yaml.Node) *Project {
	p := &Project{
		Name: Name(scalarOf(child(n, "project"))),
		Source: Source{
			Repository: scalarOf(child(child(n, "source"), "repository")),
			Dockerfile: scalarOf(child(child(n, "source"), "dockerfile")),
		},
	}
	for name, e := range entries(child(n, "environments")) {
		approvals, _ := strconv.ParseInt(scalarOf(child(e, "approvals")), 0, 32)
		env := Environment{
			Name:      EnvironmentName(name),
			Stage:     Stage(slices.Index(stageNames(), scalarOf(child(e, "stage")))),
			Approvals: int(approvals),
			Rollout:   readRollout(child(e, "rollout")),
		}
		if list := child(e, "freeze"); list != nil {
			for _, f := range list.Content {
				env.Freezes = append(env.Freezes, w.readFreeze(f))
			}
		}
		p.Environments = append(p.Environments, env)
	}
	slices.SortFunc(p.Environments, func(a, b Environment) int {
		if a.Stage != b.Stage {
			return int(a.Stage - b.Stage)
		}
		return strings.Compare(string(a.Name), string(b.Name))
	})
	return p
}

func readRollout(n *yaml.Node) Rollout {
	r := Rollout{Batches: []Batch{{Percent: 100}}, Pause: PauseNever, Deadline: defaultDeadline, OnFailure: OnFailureRollback}
	if list := child(n, "batches"); list != nil {
		r.Batches = nil
		for _, item := range list.Content {
			b, _ := parseBatch(item.Value)
			r.Batches = append(r.Batches, b)
		}
	}
	if s := scalarOf(child(n, "pause")); s != "" {
		r.Pause = Pause(s)
	}
	if d, err := time.ParseDuration(scalarOf(child(n, "deadline"))); err == nil {
		r.Deadline = d
	}
	if s := scalarOf(child(n, "on-failure")); s != "" {
		r.OnFailure = OnFailure(s)
	}
	return r
}

func (w *walk) readFreeze(n *yaml.Node) Freeze {
	set, _ := days(scalarOf(child(n, "days")))
	location, _ := w.zone(scalarOf(child(n, "zone")))
	f := Freeze{Days: set, From: clock(scalarOf(child(n, "from"))), To: clock(scalarOf(child(n, "to"))), Zone: location}
	if list := child(n, "except"); list != nil {
		for _, item := range list.Content {
			t, _ := time.Parse(time.DateOnly, item.Value)
			f.Except = append(f.Except, Date{t.Year(), t.Month(), t.Day()})
		}
	}
	return f
}

func clock(s string) time.Duration {
	h, m, _ := strings.Cut(s, ":")
	hours, _ := strconv.Atoi(h)
	minutes, _ := strconv.Atoi(m)
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
}
