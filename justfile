# The same scripts as `.ci/run`, one at a time. `just` lists them.

_default:
    @just --list --unsorted

# Format, lints, docs, licences: what a change has to pass before its tests.
check:
    scripts/check.sh

# All tests; `just test NAME` those that match. Parts that are not installed are skipped, and said so.
test *args:
    scripts/test.sh {{ args }}

# All tests against the real collector and Prometheus; nothing may be skipped.
test-all:
    SPANGLASS_TEST_REQUIRE=all SPANGLASS_TEST_OTELCOL="$(scripts/collector.sh)" SPANGLASS_TEST_GRAMMARS="$(scripts/grammars.sh)" SPANGLASS_TEST_COMPOSE="$(scripts/compose.sh)" scripts/test.sh

# The page, with example plugins and traffic.
demo *args:
    cargo run --release -- demo {{ args }}

# The demo against Prometheus and the collector, from outside.
smoke:
    scripts/smoke.sh

# The page's types, unit tests and build.
web:
    scripts/web.sh

# The page in a real browser; `just browser keyboard` those that match.
browser *args:
    scripts/browser.sh {{ args }}

bench *args:
    cargo bench {{ args }}

# Formats everything.
fmt:
    cargo fmt

# Licences, duplicates, sources of the dependency tree.
deny:
    cargo deny check bans licenses sources

# Known vulnerabilities; fetches the advisory database.
deny-advisories:
    cargo deny check advisories

# Builds the collector for tests and prints its path.
collector:
    @scripts/collector.sh

# Writes the dashboards' JSON from their generator.
dashboards:
    scripts/dashboards.sh

# What CI runs, all of it. Installs Debian packages: as root.
ci:
    bash .ci/run
