"""Ranking metrics: whole catalogues ranked for users whose next interactions were held out."""
