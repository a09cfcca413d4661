"""Using a trained model: finding it, predicting new pictures and tables, writing the predictions."""
