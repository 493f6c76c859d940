package pages

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/ui"
)

func wordsOf(t *testing.T, l ui.Language) ui.Words {
	t.Helper()
	kit, err := ui.Load()
	if err != nil {
		t.Fatal(err)
	}
	return kit.Words(l)
}

func TestClean(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain text stays":                {"GET /orders 200\tok", "GET /orders 200\tok"},
		"colours go":                      {"\x1b[1;31mERROR\x1b[0m bad", "ERROR bad"},
		"a window's title goes":           {"\x1b]0;root@n1\x07# ls", "# ls"},
		"an unfinished escape goes":       {"x\x1b[3", "x"},
		"a cursor's moves go":             {"\x1b[2K\x1b[1A\x1b(Bdone\x1bM", "done"},
		"bytes that are no text are seen": {"a\xff\xfeb", "a\uFFFDb"},
		"control characters are seen":     {"a\x00\x08b", "a··b"},
		"a progress bar is lines":         {"10%\r20%\r\n", "10%\n20%"},
		"direction cannot be turned":      {"user\u202egnp.exe\u2066", "usergnp.exe"},
		"Chinese stays":                   {"客户 王小明", "客户 王小明"},
		"a line has an end":               {strings.Repeat("字", 5000), strings.Repeat("字", 4000) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clean(c.in); got != c.want {
				t.Errorf("%.80q, want %.80q", got, c.want)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\r\n\xff")
	f.Add("\x1b]8;;http://x\x1b\\link")
	f.Fuzz(func(t *testing.T, line string) {
		got := clean(line)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > lineLimit+1 {
			t.Fatalf("%q", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) && r != '\t' && r != '\n' {
				t.Fatalf("%q holds %U", got, r)
			}
		}
		if again := clean(got); again != strings.TrimRight(got, "\n") && !strings.HasSuffix(got, "…") {
			t.Fatalf("twice is not once: %q %q", got, again)
		}
	})
}

func TestAgesAndSpans(t *testing.T) {
	for _, c := range []struct {
		age            time.Duration
		agoEN, agoZH   string
		tookEN, tookZH string
	}{
		{-time.Second, "just now", "刚刚", "0 s", "0 秒"},
		{44 * time.Second, "just now", "刚刚", "44 s", "44 秒"},
		{50 * time.Second, "1 min. ago", "1分钟前", "50 s", "50 秒"},
		{59*time.Minute + 59*time.Second, "59 min. ago", "59分钟前", "59 min 59 s", "59 分 59 秒"},
		{47 * time.Hour, "47 hr. ago", "47小时前", "47 h 0 min", "47 小时 0 分"},
		{50 * time.Hour, "2 days ago", "2天前", "2 d 2 h", "2 天 2 小时"},
	} {
		en, zh := wordsOf(t, ui.English), wordsOf(t, ui.Chinese)
		if a, b, x, y := ago(en, c.age), ago(zh, c.age), took(en, c.age), took(zh, c.age); a != c.agoEN || b != c.agoZH || x != c.tookEN || y != c.tookZH {
			t.Errorf("%v: %q %q %q %q", c.age, a, b, x, y)
		}
	}
	at := time.Date(2026, 3, 5, 7, 8, 9, 0, time.FixedZone("CST", 8*3600))
	if en, zh := string(clockTime(wordsOf(t, ui.English), at)), string(clockTime(wordsOf(t, ui.Chinese), at)); !strings.Contains(en, ">2026-03-04 23:08 UTC<") || !strings.Contains(zh, ">2026年03月04日 23:08 UTC<") || !strings.Contains(en, `datetime="2026-03-04T23:08:09Z"`) {
		t.Errorf("%s %s", en, zh)
	}
	if got := clockTime(wordsOf(t, ui.English), time.Time{}); got != "–" {
		t.Errorf("no time is %s", got)
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "999": "999", "1000": "1,000", "-1234567": "-1,234,567", "12345.678": "12,345.678"} {
		if got := grouped(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	for in, want := range map[float64]string{0: "0 B", 999: "999 B", 1024: "1.0 KiB", 128 << 20: "128 MiB", 1000 << 20: "1.0 GiB", 3 << 40: "3.0 TiB"} {
		if got := bytesText(in); got != want {
			t.Errorf("%v: %s", in, got)
		}
	}
	if a, b := cores(0.123), cores(12.34); a != "0.12" || b != "12.3" {
		t.Error(a, b)
	}
}

func numbers(all ...float64) []*float64 {
	var out []*float64
	for _, f := range all {
		if f == -1 {
			out = append(out, nil)
			continue
		}
		out = append(out, &f)
	}
	return out
}

func TestCharts(t *testing.T) {
	w := wordsOf(t, ui.English)
	for name, c := range map[string]struct {
		in          []*float64
		text        string
		moves, ends int
	}{
		"nothing":                        {nil, "", 0, 0},
		"only gaps":                      {numbers(-1, -1), "", 0, 0},
		"one value":                      {numbers(0.5), "0.50", 1, 1},
		"a line":                         {numbers(0.1, 0.2, 0.3), "0.30", 1, 1},
		"a gap parts the line":           {numbers(0.1, 0.2, -1, 0.3, 0.4), "0.40", 2, 2},
		"what is no number is a gap":     {numbers(0.1, math.NaN(), math.Inf(1), 0.2, -1), "0.20", 2, 2},
		"what is below nothing is a gap": {numbers(0.1, -7), "0.10", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cpu, _ := charts(w, engine.Samples{IntervalSeconds: 10, CPUCores: c.in})
			_, line, _ := strings.Cut(string(cpu.SVG), `class="line"`)
			_, area, _ := strings.Cut(string(cpu.SVG), `class="area"`)
			area, _, _ = strings.Cut(area, "/>")
			if cpu.Text != c.text || strings.Count(line, "M") != c.moves || strings.Count(area, "Z") != c.ends || strings.Contains(string(cpu.SVG), "NaN") {
				t.Errorf("%q %s", cpu.Text, cpu.SVG)
			}
		})
	}
	for name, c := range map[string]struct {
		running, wanted uint64
		on, off         int
	}{"none of none": {0, 0, 0, 1}, "some": {2, 3, 2, 1}, "too many": {4, 3, 4, 0}, "very many": {400, 500, 1, 1}} {
		bar := string(countBar(c.running, c.wanted))
		if strings.Count(bar, `"on"`) != c.on || strings.Count(bar, `"off"`) != c.off {
			t.Errorf("%s: %s", name, bar)
		}
	}
}

func TestWhatHasNotChangedHasTheSameSum(t *testing.T) {
	const a = `<p>x <time data-ago datetime="1">1 min. ago</time> <input name="csrf" value="abc"> y</p>`
	for name, c := range map[string]struct {
		b    string
		same bool
	}{
		"itself":              {a, true},
		"an age went on":      {strings.Replace(a, "1 min", "2 min", 1), true},
		"another token":       {strings.Replace(a, "abc", "defghi", 1), true},
		"another moment":      {strings.Replace(a, `"1"`, `"2"`, 1), false},
		"another text before": {strings.Replace(a, "x", "z", 1), false},
		"another text behind": {strings.Replace(a, "y", "z", 1), false},
		"a text between":      {strings.Replace(a, "</time> ", "</time>!", 1), false},
		"nothing":             {"", false},
		"a page cut short":    {a[:30], false},
	} {
		if got := sumOfPart([]byte(a)) == sumOfPart([]byte(c.b)); got != c.same {
			t.Errorf("%s: the same: %v", name, got)
		}
	}
}

func TestIDsAreSafeAndApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a b", "a_b", "a.b", "a-b", "a_20b", `"><x`, "名", ""} {
		id := dom("x", name)
		if strings.ContainsAny(id, ` "'<>.#`) || seen[id] != "" {
			t.Errorf("%q and %q are both %q", name, seen[id], id)
		}
		seen[id] = name + "!"
	}
}

func FuzzSumOfPart(f *testing.F) {
	f.Add(`<time >1</time><input name="csrf" value="x">`)
	f.Add(`<time name="csrf" value="`)
	f.Fuzz(func(t *testing.T, html string) {
		if a, b := sumOfPart([]byte(html)), sumOfPart([]byte(html)); a != b || len(a) != 16 {
			t.Errorf("%s %s", a, b)
		}
	})
}
