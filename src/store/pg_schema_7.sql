-- Version 7: rows of longwire.channel are made with room for their old versions.

-- PostgreSQL clears a page of old versions when the page has less free room than the fill factor leaves. It also fills a page with new
-- rows until no more than that is left: so a full page was cleared at every publish (version 6 made that cheaper). A new row
-- therefore has bytes that its first publish takes away. What they leave is room for old versions of a dozen publishes
-- before the page is cleared. Rows that are there have none, and need none where version 6 filled their page.
alter table longwire.channel add column room bytea, set (fillfactor = 35);
alter table longwire.channel alter column room set storage plain,
    alter column room set default decode(repeat('00', 64), 'hex');
