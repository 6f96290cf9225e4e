// The panels about the archive, on the dashboard of the feed.

import type { Panel } from './dashboards.ts'

export const ARCHIVE_PANELS: readonly Panel[] = []
