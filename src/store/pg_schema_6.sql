-- Version 6: more room in the pages of longwire.channel.

-- Each publish leaves an old version of its channel's row behind. PostgreSQL clears a page of these at the next access, whenever the
-- page has less room than the fill factor leaves, and it looks at all rows of the page then. At 70 percent that was a seventh of the
-- processor time of a publish; with a third of the rows on a page it is a third of that. Pages that are full stay so until
-- their table is rewritten (docs/operations.md).
alter table longwire.channel set (fillfactor = 25);
