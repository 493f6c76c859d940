package parts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	graphitePort    = "2003" // plaintext
	picklePort      = "2004"
	GraphiteWebPort = "8080" // of graphite-web on the router: lab relay PORT router:8080
	carbonQueryPort = "7002"
)

// GraphiteStep is the finest retention of the lab's Graphite, and so the exporters' interval in a lab: shorter than in a
// company, where 10 s are usual, since tests wait for points.
const GraphiteStep = 2 * time.Second

// graphite is Debian's carbon and graphite-web.
func graphite() Part {
	return Part{
		Name:     "graphite",
		Does:     "Graphite: plaintext on port " + graphitePort + ", graphite-web on port " + GraphiteWebPort + " of the router",
		Packages: []string{"graphite-carbon", "graphite-web", "gunicorn"},
		Within:   90 * time.Second, // Django is slow to start on a busy machine
		Prepare: func(ctx context.Context, s Site) (Program, error) {
			if err := prepareGraphite(ctx, s); err != nil {
				return Program{}, fmt.Errorf("graphite: %w", err)
			}
			return Program{Path: "bash", Args: []string{"-c", graphiteBoth, "graphite", s.Folder, net.JoinHostPort(s.Router.String(), GraphiteWebPort)}, Env: graphiteEnv(s)}, nil
		},
		Ready: func(ctx context.Context, s Site) error {
			// The web answers without carbon too: both have to.
			conn, err := s.Dial(ctx, "tcp", GraphiteAddress(s))
			if err != nil {
				return err
			}
			return errors.Join(conn.Close(), answers(ctx, s, GraphiteWeb(s)+"/version/"))
		},
	}
}

// GraphiteAddress is where exporters send.
func GraphiteAddress(s Site) string { return net.JoinHostPort(s.Router.String(), graphitePort) }

// GraphiteWeb is graphite-web's address.
func GraphiteWeb(s Site) string {
	return "http://" + net.JoinHostPort(s.Router.String(), GraphiteWebPort)
}

// graphiteBoth runs both and ends both when one ends, or when it is told to: carbon then writes what it still holds. Debian's
// own Python is named, since another may stand first in PATH.
const graphiteBoth = `cd "$1"
/usr/bin/python3 /usr/bin/carbon-cache --nodaemon --config=conf/carbon.conf --pidfile=run/carbon.pid start >logs/carbon.out 2>&1 & c=$!
/usr/bin/python3 /usr/bin/gunicorn -b "$2" -w 1 --threads 2 graphite.wsgi:application >logs/web.out 2>&1 & w=$!
trap 'kill $c $w 2>/dev/null' TERM INT
wait -n
tail -n 5 logs/carbon.out logs/web.out
kill $c $w 2>/dev/null
wait`

func graphiteEnv(s Site) []string {
	return []string{"PYTHONPATH=" + s.Folder, "PYTHONDONTWRITEBYTECODE=1", "DJANGO_SETTINGS_MODULE=rolling_graphite_settings"}
}

func prepareGraphite(ctx context.Context, s Site) error {
	for _, d := range []string{"conf", "whisper", "logs", "run", "lists"} {
		if err := os.MkdirAll(filepath.Join(s.Folder, d), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"conf/carbon.conf": carbonConfig(s), "conf/storage-schemas.conf": carbonSchemas(), "conf/storage-aggregation.conf": carbonAggregation,
		"rolling_graphite_settings.py": graphiteSettings(s),
	} {
		if err := os.WriteFile(filepath.Join(s.Folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(s.Folder, "run/carbon.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return err
	}
	database := filepath.Join(s.Folder, "graphite.db")
	if _, err := os.Stat(database); err == nil {
		return nil
	}
	migrate := exec.CommandContext(ctx, "graphite-manage", "migrate", "--run-syncdb", "-v0")
	migrate.Env = append(os.Environ(), graphiteEnv(s)...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("make its database: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// carbonConfig: without MAX_CREATES_PER_MINUTE Debian's 50 new metrics a minute are all.
func carbonConfig(s Site) string {
	return strings.NewReplacer("FOLDER", s.Folder, "ROUTER", s.Router.String(), "LINES", graphitePort, "PICKLES", picklePort, "QUERIES", carbonQueryPort).Replace(`[cache]
STORAGE_DIR = FOLDER
LOCAL_DATA_DIR = FOLDER/whisper
WHITELISTS_DIR = FOLDER/lists
CONF_DIR = FOLDER/conf
LOG_DIR = FOLDER/logs
PID_DIR = FOLDER/run
ENABLE_LOGROTATION = False
USER =
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = 2000
MAX_UPDATES_PER_SECOND_ON_SHUTDOWN = 20000
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = ROUTER
LINE_RECEIVER_PORT = LINES
ENABLE_UDP_LISTENER = False
PICKLE_RECEIVER_INTERFACE = ROUTER
PICKLE_RECEIVER_PORT = PICKLES
CACHE_QUERY_INTERFACE = ROUTER
CACHE_QUERY_PORT = QUERIES
USE_INSECURE_UNPICKLER = False
LOG_UPDATES = False
LOG_CREATES = False
LOG_CACHE_HITS = False
LOG_LISTENER_CONNECTIONS = False
CACHE_WRITE_STRATEGY = sorted
WHISPER_AUTOFLUSH = False
ENABLE_TAGS = False
CARBON_METRIC_INTERVAL = 10
`)
}

// carbonSchemas: the finest retention is the exporters' interval; a finer one leaves gaps that draw as nothing.
func carbonSchemas() string {
	return fmt.Sprintf("[default]\npattern = .*\nretentions = %ds:30m,10s:1d\n", int(GraphiteStep/time.Second))
}

const carbonAggregation = "[default]\npattern = .*\nxFilesFactor = 0\naggregationMethod = average\n"

func graphiteSettings(s Site) string {
	return strings.NewReplacer("FOLDER", s.Folder, "QUERIES", net.JoinHostPort(s.Router.String(), carbonQueryPort)).Replace(`from graphite.settings import *
DEBUG = False
SECRET_KEY = 'lab-only'
ALLOWED_HOSTS = ['*']
TIME_ZONE = 'UTC'
STORAGE_DIR = 'FOLDER'
CONF_DIR = 'FOLDER/conf'
LOG_DIR = 'FOLDER/logs'
LOG_FILE_INFO = LOG_FILE_EXCEPTION = LOG_FILE_CACHE = LOG_FILE_RENDERING = '-'
WHISPER_DIR = 'FOLDER/whisper'
STANDARD_DIRS = ['FOLDER/whisper']
INDEX_FILE = 'FOLDER/index'
CARBONLINK_HOSTS = ['QUERIES:a']
CARBONLINK_TIMEOUT = 2.0
MEMCACHE_HOSTS = []
FIND_CACHE_DURATION = 0
DEFAULT_CACHE_DURATION = 0
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'FOLDER/graphite.db'}}
`)
}
