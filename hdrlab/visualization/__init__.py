"""Images for people: contact sheets, previews and panels of trainings."""
