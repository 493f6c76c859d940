package release

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // a small machine has no table of zones

	"github.com/rolling-swarm/rolling/manager/project"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC) // a Monday

func digest(c string) Image {
	return Image("registry.example/web@sha256:" + strings.Repeat(c, 64))
}

func made(id ID) Release {
	r, err := New(Release{ID: id, Project: "orders", Commit: "abcdef0", Author: "ann", Created: start,
		Images: map[project.ServiceName]Image{"web": digest("a")}})
	if err != nil {
		panic(err)
	}
	return r
}

// ladder is a project with two environments in its first stage, none in isolated and grey.
func ladder() *project.Project {
	return &project.Project{Name: "orders", Environments: []project.Environment{
		{Name: "test-a", Stage: project.Test},
		{Name: "test-b", Stage: project.Test},
		{Name: "staging", Stage: project.PreRelease},
		{Name: "production", Stage: project.Production, Approvals: 2, Freezes: []project.Freeze{workday(time.UTC)}},
	}}
}

func workday(zone *time.Location) project.Freeze {
	return project.Freeze{Days: [7]bool{false, true, true, true, true, true, false}, From: 9*time.Hour + 15*time.Minute,
		To: 15*time.Hour + 5*time.Minute, Zone: zone, Except: []project.Date{{Year: 2026, Month: time.March, Day: 4}}}
}

func went(e project.EnvironmentName, o Outcome) Deployment {
	return Deployment{Environment: e, Release: "r1", Fingerprint: made("r1").Fingerprint(), Outcome: o, Started: start}
}

func says(by string, agrees bool) Approval {
	return Approval{Release: "r1", Environment: "production", By: by, Agrees: agrees, Reason: "because", At: start}
}

func TestAReleaseGoesStageByStage(t *testing.T) {
	other := made("r1")
	other.Images = map[project.ServiceName]Image{"web": digest("b")}
	twoAgree := []Approval{says("bob", true), says("cho", true)}
	all := []Deployment{went("test-b", Succeeded), went("staging", Succeeded)}
	for _, c := range []struct {
		name   string
		to     project.EnvironmentName
		record Record
		now    time.Time
		back   bool
		want   []Code // nothing: allowed
	}{
		{name: "the first stage is open", to: "test-a"},
		{name: "an unknown environment is refused", to: "prod", want: []Code{UnknownEnvironment}},
		{name: "the second stage is closed before the first", to: "staging", want: []Code{StageSkipped}},
		{name: "one environment of the first stage is enough", to: "staging", record: Record{Deployments: all[:1]}},
		{name: "a rollout still running proves nothing", to: "staging", record: Record{Deployments: []Deployment{went("test-a", Running)}}, want: []Code{StageSkipped}},
		{name: "a release that was rolled back proves nothing", to: "staging", record: Record{Deployments: []Deployment{went("test-a", RolledBack)}}, want: []Code{StageSkipped}},
		{name: "the last attempt counts, not an earlier success", to: "staging", record: Record{Deployments: []Deployment{went("test-a", Succeeded), went("test-a", TimedOut)}}, want: []Code{StageSkipped}},
		{name: "a success after a failure counts", to: "staging", record: Record{Deployments: []Deployment{went("test-a", Failed), went("test-a", Succeeded)}}},
		{name: "production cannot be reached from the first stage", to: "production", record: Record{Deployments: all[:1], Approvals: twoAgree}, want: []Code{StageSkipped}},
		{name: "production is open after every stage and word", to: "production", record: Record{Deployments: all, Approvals: twoAgree}},
		{name: "other images under the same name do not count", to: "staging", record: Record{Deployments: []Deployment{{Environment: "test-a", Release: "r1", Fingerprint: other.Fingerprint(), Outcome: Succeeded}}}, want: []Code{ImagesChanged}},
		{name: "one word of two is not enough", to: "production", record: Record{Deployments: all, Approvals: []Approval{says("bob", true)}}, want: []Code{ApprovalMissing}},
		{name: "the author's own word does not count", to: "production", record: Record{Deployments: all, Approvals: []Approval{says("bob", true), says("ann", true)}}, want: []Code{ApprovalMissing}},
		{name: "a word said twice counts once", to: "production", record: Record{Deployments: all, Approvals: []Approval{says("bob", true), says("bob", true)}}, want: []Code{ApprovalMissing}},
		{name: "one who rejects stops it", to: "production", record: Record{Deployments: all, Approvals: append(slices.Clone(twoAgree), says("dee", false))}, want: []Code{Rejected}},
		{name: "one who thinks better of it counts", to: "production", record: Record{Deployments: all, Approvals: append([]Approval{says("cho", false)}, twoAgree...)}},
		{name: "a freeze holds it up", to: "production", record: Record{Deployments: all, Approvals: twoAgree}, now: start.Add(2 * time.Hour), want: []Code{Frozen}},
		{name: "everything against it is said at once", to: "production", now: start.Add(2 * time.Hour), want: []Code{StageSkipped, ApprovalMissing, Frozen}},
		{name: "the way back needs no word and no open window", to: "production", record: Record{Deployments: []Deployment{went("production", Succeeded)}}, now: start.Add(2 * time.Hour), back: true},
		{name: "the way back leads only to where it has been", to: "production", record: Record{Deployments: all}, back: true, want: []Code{ApprovalMissing}},
		{name: "a rollout under way comes first", to: "staging", record: Record{Deployments: []Deployment{went("test-a", Succeeded), went("staging", Running)}}, want: []Code{RolloutRunning}},
		{name: "a discarded release goes nowhere, not even back", to: "test-a", record: Record{Deployments: []Deployment{went("test-a", Succeeded)}, Discards: []Discard{{Release: "r1", By: "ann", Reason: "leaks", At: start}}}, back: true, want: []Code{Discarded}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.now.IsZero() {
				c.now = start
			}
			v := Decide(Question{Project: ladder(), Release: made("r1"), To: c.to, Record: c.record, Now: c.now, Back: c.back})
			var got []Code
			for _, r := range v.Refusals {
				got = append(got, r.Code)
			}
			if !slices.Equal(got, c.want) || v.Allowed() != (len(c.want) == 0) {
				t.Errorf("got %v (%s), want %v", got, v, c.want)
			}
			for _, code := range c.want {
				if !v.Has(code) {
					t.Errorf("Has(%s) is false", code)
				}
			}
		})
	}
	stranger := made("r1")
	stranger.Project = "payments"
	if v := Decide(Question{Project: ladder(), Release: stranger, To: "test-a", Now: start}); !v.Has(OtherProject) {
		t.Errorf("a release of another project: got %v, want %s", v, OtherProject)
	}
}

func TestRefusalsNameWhatToDo(t *testing.T) {
	v := Decide(Question{Project: ladder(), Release: made("r1"), To: "production", Now: start.Add(2 * time.Hour)})
	want := "release r1 has not succeeded in staging (stage pre-release), and production (stage production) comes after it: deploy it there first; " +
		"production wants 2 approvals of people other than the author, release r1 has 0; production is frozen until 15:05 UTC on 2026-03-02"
	if v.String() != want {
		t.Errorf("got  %s\nwant %s", v, want)
	}
}

// TestProductionIsReachedOnlyThroughEveryStage: whatever happened in whatever order, an allowed release has proved the
// same images in the nearest earlier stage.
func TestProductionIsReachedOnlyThroughEveryStage(t *testing.T) {
	p := ladder()
	outcomes := []Outcome{Running, Succeeded, RolledBack, Paused, TimedOut, Cancelled, Failed}
	rapid.Check(t, func(t *rapid.T) {
		q := Question{Project: p, Release: made("r1"), To: "production", Now: start, Record: Record{Approvals: []Approval{says("bob", true), says("cho", true)}}}
		for range rapid.IntRange(0, 12).Draw(t, "attempts") {
			d := went(rapid.SampledFrom(p.Environments).Draw(t, "environment").Name, rapid.SampledFrom(outcomes).Draw(t, "outcome"))
			d.Release = rapid.SampledFrom([]ID{"r1", "r2"}).Draw(t, "release")
			if rapid.Bool().Draw(t, "other images") {
				d.Fingerprint = "other"
			}
			q.Record.Deployments = append(q.Record.Deployments, d)
		}
		proved := false
		for _, d := range q.Record.Deployments {
			if d.Environment == "staging" && d.Release == "r1" {
				proved = d.Outcome == Succeeded && d.Fingerprint == q.Release.Fingerprint()
			}
		}
		if v := Decide(q); v.Allowed() && !proved {
			t.Fatalf("allowed into production without staging: %+v", q.Record.Deployments)
		}
	})
}

func TestAReleaseIsRefusedWithEveryProblem(t *testing.T) {
	_, err := New(Release{ID: "-", Commit: "main", Images: map[project.ServiceName]Image{"web": "registry.example/web:latest", "api": digest("a")}})
	if err == nil {
		t.Fatal("a release full of mistakes was made")
	}
	for _, part := range []string{`id "-"`, "project:", `commit "main"`, "service web: image", "created:"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "service api") {
		t.Errorf("a good image is blamed: %v", err)
	}
	if _, err := New(Release{ID: "r1", Project: "orders", Created: start}); err == nil {
		t.Error("a release without images was made")
	}
}

func TestAReleaseDoesNotChangeWithItsMaker(t *testing.T) {
	images := map[project.ServiceName]Image{"web": digest("a")}
	r, err := New(Release{ID: "r1", Project: "orders", Created: start, Images: images})
	if err != nil {
		t.Fatal(err)
	}
	before := r.Fingerprint()
	images["web"] = digest("b")
	if r.Fingerprint() != before || r.Images["web"] != digest("a") {
		t.Error("the release changed when its maker's map did")
	}
	moved := r
	moved.Images = maps.Clone(r.Images)
	moved.Images["web"] = Image("mirror.example/orders/web:1@sha256:" + strings.Repeat("a", 64))
	if moved.Fingerprint() != before {
		t.Error("the same digest from another registry counts as another image")
	}
	moved.Images["web"] = digest("b")
	if moved.Fingerprint() == before {
		t.Error("another digest counts as the same image")
	}
}

func TestTheRecordKnowsWhatRunsAndWhereToGoBack(t *testing.T) {
	at := func(e project.EnvironmentName, id ID, o Outcome) Deployment {
		return Deployment{Environment: e, Release: id, Outcome: o}
	}
	r := Record{Deployments: []Deployment{
		at("test-a", "r1", Succeeded), at("production", "r1", Succeeded), at("test-a", "r2", Succeeded),
		at("production", "r2", Succeeded), at("test-a", "r3", Succeeded), at("production", "r3", RolledBack),
	}}
	if got := r.Current("production"); got != "r2" {
		t.Errorf("production runs %q, want r2: r3 was rolled back", got)
	}
	if got := r.Before("production"); got != "r1" {
		t.Errorf("the way back leads to %q, want r1", got)
	}
	if got := r.Before("staging"); got != "" {
		t.Errorf("the way back in an empty environment leads to %q, want nowhere", got)
	}
	if got := r.Reached("r3"); !slices.Equal(got, []project.EnvironmentName{"test-a"}) {
		t.Errorf("r3 reached %v, want test-a", got)
	}
	if err := r.CheckDiscard(ladder(), "r2"); err == nil || !strings.Contains(err.Error(), "production") {
		t.Errorf("discarding what runs in production: got %v, want a refusal that names it", err)
	}
	if err := r.CheckDiscard(ladder(), "r1"); err != nil {
		t.Errorf("discarding what runs nowhere: %v", err)
	}
	r.Discards = []Discard{{Release: "r1"}}
	if got := r.Before("production"); got != "" {
		t.Errorf("the way back leads to %q, which is discarded", got)
	}
	if err := r.CheckDiscard(ladder(), "r1"); err == nil {
		t.Error("discarded twice")
	}
}

func TestAFreezeHoldsExactlyInItsWindow(t *testing.T) {
	shanghai := time.FixedZone("CST", 8*60*60)
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	day := workday(time.UTC)
	night := project.Freeze{Days: [7]bool{6: true}, From: 22 * time.Hour, To: 6 * time.Hour, Zone: time.UTC}
	early := project.Freeze{Days: [7]bool{true, true, true, true, true, true, true}, From: 4 * time.Hour, To: 5 * time.Hour, Zone: newYork}
	for _, c := range []struct {
		name    string
		windows []project.Freeze
		now     string
		until   string // "": open
	}{
		{"a minute before it opens", []project.Freeze{day}, "2026-03-02T09:14:59Z", ""},
		{"the moment it opens", []project.Freeze{day}, "2026-03-02T09:15:00Z", "2026-03-02T15:05:00Z"},
		{"the moment before it closes", []project.Freeze{day}, "2026-03-02T15:04:59Z", "2026-03-02T15:05:00Z"},
		{"the moment it closes", []project.Freeze{day}, "2026-03-02T15:05:00Z", ""},
		{"a day it does not open", []project.Freeze{day}, "2026-03-07T10:00:00Z", ""},
		{"a day excepted", []project.Freeze{day}, "2026-03-04T10:00:00Z", ""},
		{"the zone decides, not the caller's", []project.Freeze{workday(shanghai)}, "2026-03-02T02:00:00Z", "2026-03-02T07:05:00Z"},
		{"the zone decides the day too", []project.Freeze{workday(shanghai)}, "2026-03-01T23:30:00Z", ""},
		{"past midnight it is still open", []project.Freeze{night}, "2026-03-08T05:59:00Z", "2026-03-08T06:00:00Z"},
		{"in the evening it opens", []project.Freeze{night}, "2026-03-07T22:00:00Z", "2026-03-08T06:00:00Z"},
		{"the night before it is not open", []project.Freeze{night}, "2026-03-07T05:00:00Z", ""},
		{"of two windows the later end counts", []project.Freeze{night, {Days: [7]bool{6: true}, From: 23 * time.Hour, To: 8 * time.Hour, Zone: time.UTC}}, "2026-03-07T23:30:00Z", "2026-03-08T08:00:00Z"},
		{"the clock on the wall counts on the day that lacks an hour", []project.Freeze{early}, "2026-03-08T08:30:00Z", "2026-03-08T09:00:00Z"},
		{"an hour after it on that day", []project.Freeze{early}, "2026-03-08T09:30:00Z", ""},
		{"no windows", nil, "2026-03-02T10:00:00Z", ""},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		until, frozen := FrozenUntil(c.windows, now)
		got := ""
		if frozen {
			got = until.UTC().Format(time.RFC3339)
		}
		if got != c.until {
			t.Errorf("%s: frozen until %q, want %q", c.name, got, c.until)
		}
	}
}
