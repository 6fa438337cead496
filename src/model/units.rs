//! Quantities as Kubernetes writes them (`512Mi`, `500m`) and durations (`200ms`, `30s`, `5m`, `24h`, `30d`).
