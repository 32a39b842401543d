-- Version 8: what most messages lack takes no room in their rows.

-- Null says 0, or '', in each of these columns. Rows of earlier versions, and of longwire.publish(), have the word itself.
alter table longwire.message
    alter column kind drop not null,
    alter column expires_at drop not null,
    alter column target drop not null,
    alter column sender drop not null,
    alter column event drop not null,
    alter column collapse drop not null;
