package carrier

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/logdriver/entry"
)

func TestLinesOfThreeContainersArriveInOrderWithTheirHeaders(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	sources := map[string]*source{"aaaaaaaaaaaaaaaa": r.pipe("a"), "bbbbbbbbbbbbbbbb": r.pipe("b"), "cccccccccccccccc": r.pipe("c")}
	for id, s := range sources {
		r.begin(s, id, nil)
		go s.lines(2000)
	}
	records := consumed(t, c.ListenAddrs(), "orders.test.web", 6000)
	inOrder(t, records)
	first := records[0]
	for name, want := range map[string]string{
		contract.HeaderProject: "orders", contract.HeaderEnvironment: "test", contract.HeaderService: "web", contract.HeaderNode: "n1",
		contract.HeaderStream: "stdout", contract.HeaderSeq: "1", contract.HeaderTS: "1", contract.HeaderMark: "",
	} {
		if got := header(first, name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if len(first.Key) != 12 {
		t.Errorf("the key is %q", first.Key)
	}
	eventually(t, "all acknowledged", func() bool { return r.Picture().Sent == 6000 })
	if p := r.balanced(); p.Unsent != 0 || p.Read != 6000 {
		t.Fatalf("got %+v", p)
	}
}

func TestStopDrainsThePipeAndEndsALineWithoutNewline(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	s := r.pipe("a")
	s.lines(300) // before anybody reads
	s.write(entry.Entry{Nanos: 301, Line: []byte("line "), Partial: true, Ordinal: 1})
	s.write(entry.Entry{Nanos: 301, Line: []byte("301"), Partial: true, Ordinal: 2})
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	r.Stop(s.path)
	if p := r.Picture(); p.Read != 301 || p.Pipes != 0 {
		t.Fatalf("after the stop: %+v", p)
	}
	inOrder(t, consumed(t, c.ListenAddrs(), "orders.test.web", 301))
	r.Stop(s.path) // again, and of what never was
	r.Stop("/nowhere")
}

func TestNothingStopsWhileKafkaIsAway(t *testing.T) {
	c := fake(t)
	address := c.ListenAddrs()
	c.Close()
	r := newRig(t, address...).start()
	s := r.pipe("a")
	begun := time.Now()
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	s.lines(5000)
	r.Stop(s.path)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("start, 5000 lines and stop took %v", took)
	}
	if p := r.balanced(); p.Unsent != 5000 {
		t.Fatalf("got %+v", p)
	}
	if got := logs(t, r, "aaaaaaaaaaaaaaaa", Question{Tail: 2}); got != "line 4999\nline 5000\n" {
		t.Fatalf("docker logs says %q", got)
	}
	eventually(t, "the fault is told", func() bool {
		f := r.client.Fault()
		return f != nil && strings.Contains(f.Error(), "refused")
	})
}

// logs is what docker logs would print.
func logs(t testing.TB, r *rig, id string, q Question) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Read(context.Background(), id, q, text(t, &b), func() {}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func text(t testing.TB, b *bytes.Buffer) func([]byte) error {
	return func(frame []byte) error {
		e, _, err := entry.Next(frame)
		if err != nil {
			t.Errorf("a frame of docker logs: %v", err)
		}
		b.Write(e.Line)
		return nil
	}
}

func TestAKilledProcessLosesNothingAndAttachesAgain(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	s.lines(1000)
	r.end() // the container goes on writing
	s.lines(500)
	r.start()
	s.lines(500)
	inOrder(t, consumed(t, c.ListenAddrs(), "orders.test.web", 2000))
	r.Stop(s.path)
	if files := r.Picture().Pipes; files != 0 {
		t.Fatalf("%d pipes are open", files)
	}
}

func TestASecondPipeOfAContainerFollowsTheFirst(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	old, young := r.pipe("a"), r.pipe("b")
	r.begin(old, "aaaaaaaaaaaaaaaa", nil)
	old.lines(700)
	young.sent = 700
	young.lines(300)
	r.begin(young, "aaaaaaaaaaaaaaaa", nil)
	inOrder(t, consumed(t, c.ListenAddrs(), "orders.test.web", 1000))
	if p := r.Picture(); p.Pipes != 1 {
		t.Fatalf("%d pipes are open", p.Pipes)
	}
}

func TestDockerLogsFollowsUntilTheContainerEnds(t *testing.T) {
	r := newRig(t).start()
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	s.lines(3)
	var b bytes.Buffer
	over := make(chan error, 1)
	go func() {
		over <- r.Read(context.Background(), "aaaaaaaaaaaaaaaa", Question{Tail: -1, Follow: true}, text(t, &b), func() {})
	}()
	s.lines(3)
	eventually(t, "six lines read", func() bool { return r.Picture().Read == 6 })
	r.Stop(s.path)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if b.String() != "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\n" {
		t.Fatalf("got %q", b.String())
	}
	for name, c := range map[string]struct {
		q    Question
		want string
	}{
		"nothing":              {Question{Tail: 0}, ""},
		"the last two":         {Question{Tail: 2}, "line 5\nline 6\n"},
		"more than there are":  {Question{Tail: 100}, b.String()},
		"from a time on":       {Question{Tail: -1, Since: time.Unix(0, 5)}, "line 5\nline 6\n"},
		"up to a time":         {Question{Tail: -1, Until: time.Unix(0, 2)}, "line 1\nline 2\n"},
		"of the last, up to":   {Question{Tail: 3, Until: time.Unix(0, 5)}, "line 4\nline 5\n"},
		"following what ended": {Question{Tail: 1, Follow: true}, "line 6\n"},
	} {
		if got := logs(t, r, "aaaaaaaaaaaaaaaa", c.q); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if got := logs(t, r, "unheard", Question{Tail: -1}); got != "" {
		t.Errorf("an unknown container: %q", got)
	}
}

func TestBadOptionsAreAllSaidAndNothingIsOpened(t *testing.T) {
	r := newRig(t).start()
	s := r.pipe("a")
	err := r.Start(s.path, container("aaaaaaaaaaaaaaaa", map[string]string{"topik": "x", "format": "jason", "on-full": "drop-old", "topic": "{{.Projekt}}", "max-line": "soon"}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"5 problems", `topik: is not a log option of rolling/log; did you mean "topic"?`, `format: "jason": want raw, json; did you mean "json"?`, `did you mean "drop-oldest"?`, `{{.Projekt}} is unknown; did you mean "Project"?`, "max-line: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q:\n%v", want, err)
		}
	}
	if p := r.Picture(); len(p.Containers) != 0 || p.Pipes != 0 {
		t.Fatalf("got %+v", p)
	}
}

func TestAPipeThatNobodyExplainsIsReadUntilSomebodyDoes(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	s := r.pipe("stranger-of-some-name")
	s.lines(10)
	if err := r.adopt(s.path); err != nil {
		t.Fatal(err)
	}
	inOrder(t, consumed(t, c.ListenAddrs(), "none.none.none", 10))
	r.begin(s, "aaaaaaaaaaaaaaaa", nil) // the engine at last
	s.sent = 0
	s.lines(5)
	inOrder(t, consumed(t, c.ListenAddrs(), "orders.test.web", 5))
}

func TestAContainerThatSaysNothingMakesNoTopic(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	silent, loud := r.pipe("a"), r.pipe("b")
	r.begin(silent, "aaaaaaaaaaaaaaaa", map[string]string{"topic": "silent"})
	r.begin(loud, "bbbbbbbbbbbbbbbb", map[string]string{"topic": "loud"})
	loud.lines(1)
	consumed(t, c.ListenAddrs(), "loud", 1)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil || topics.Has("silent") || !topics.Has("loud") {
		t.Fatalf("got %v, %v", topics.Names(), err)
	}
}

func TestAnEventOfSeveralLinesIsOneRecord(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", map[string]string{"multiline-start": `^\S`, "format": "json"})
	for i, line := range []string{"Exception: boom", "\tat a", "\tat b"} {
		s.write(entry.Entry{Nanos: int64(i + 1), Line: []byte(line)})
	}
	got := string(consumed(t, c.ListenAddrs(), "orders.test.web", 1)[0].Value) // nothing follows: it ends by itself
	if !strings.Contains(got, `"line":"Exception: boom\n\tat a\n\tat b"`) || !strings.Contains(got, `"project":"orders"`) {
		t.Fatalf("got %s", got)
	}
}
